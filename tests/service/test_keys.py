"""Every endpoint requires a key of the right scope, and a revoked or expired key is refused."""

import hashlib
import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from models_store import runs
from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import ApiKey
from service.access import keys
from service.access.gate import scope_needed
from service.access.keys import SCOPES, KeyNotFound, KeyRefused, Scope
from service.access.rates import MAX_CALLERS, RateLimit, Rates
from service.app import create_app

METHODS = ("get", "post", "put", "patch", "delete")


@pytest.fixture
def guarded(settings: Settings, database: Database, storage: Storage) -> FastAPI:
    return create_app(settings.model_copy(update={"auth": "keys"}), database=database, storage=storage)


@pytest.fixture
def stranger(guarded: FastAPI) -> Iterator[TestClient]:
    with TestClient(guarded, raise_server_exceptions=False) as client:
        yield client


def make(database: Database, *scopes: Scope, **options: Any) -> tuple[str, str]:
    with database.write() as session:
        key, text = keys.create(session, "robot", list(scopes), **options)
        return key.id, text


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def status(client: TestClient, text: str, method: str = "GET", path: str = "/v1/models") -> int:
    return client.request(method, path, headers=bearer(text)).status_code


def test_every_operation_but_health_requires_a_key(guarded: FastAPI, stranger: TestClient) -> None:
    paths = guarded.openapi()["paths"]
    for path, item in paths.items():
        for method in METHODS:
            if method in item and path not in ("/healthz", "/readyz"):
                answer = stranger.request(method, path.replace("{", "").replace("}", ""))
                assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json"), path
                assert "401" in item[method]["responses"]
    for path in ("/", "/docs", "/openapi.json", "/metrics", "/nowhere"):
        assert stranger.get(path).status_code == 401
    assert stranger.get("/healthz").status_code == 200
    assert stranger.get("/readyz").status_code == 503


@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/v1/models", "read"),
        ("GET", "/metrics", "read"),
        ("HEAD", "/v1/experiments", "read"),
        ("POST", "/predict", "predict"),
        ("POST", "/v1/predict", "predict"),
        ("POST", "/v1/predict/batch", "predict"),
        ("POST", "/v1/predictions/prd_1/outcome", "verify"),
        ("GET", "/v1/predictions/prd_1/outcome", "read"),
        ("POST", "/v1/predictions/prd_1/outcome/1", "admin"),
        ("GET", "/problems", None),
        ("GET", "/problems/not-found", None),
        ("POST", "/problems/not-found", "admin"),
        ("GET", "/problemsx", "read"),
        ("POST", "/v1/experiments", "submit"),
        ("POST", "/v1/experiments/exp_1/cancel", "submit"),
        ("POST", "/v1/experiments/estimate", "submit"),
        ("POST", "/v1/datasets", "submit"),
        ("POST", "/v1/datasets/clinic/split", "submit"),
        ("POST", "/v1/datasets/clinic", "admin"),
        ("POST", "/v1/models/mdl_1/promote", "admin"),
        ("POST", "/v1/models/rollback", "admin"),
        ("POST", "/v1/experimentsx", "admin"),
        ("DELETE", "/predict", "admin"),
        ("DELETE", "/v1/experiments/exp_1", "admin"),
        ("POST", "/experiments/exp_1/cancel", "submit"),
        ("POST", "/experiments/exp_1/delete", "admin"),
        ("BREW", "/predict/", "admin"),
        ("GET", "/healthz", None),
        ("GET", "/healthz/", "read"),
        ("GET", "/static/0/style.css", None),
        ("POST", "/static/0/style.css", "admin"),
        ("POST", "/sign-in", None),
        ("POST", "/sign-out", "read"),
        ("POST", "/studies", "submit"),
        ("POST", "/studies/exp_1/cancel", "submit"),
        ("POST", "/models/mdl_1/promote", "admin"),
    ],
)
def test_scope_of_a_request(method: str, path: str, needed: str | None) -> None:
    assert scope_needed(method, path) == needed


@pytest.mark.parametrize("scope", SCOPES)
def test_key_allows_what_its_scope_names_and_no_more(stranger: TestClient, database: Database, scope: Scope) -> None:
    _, text = make(database, scope)
    requests = {
        "read": ("GET", "/v1/models"),
        "predict": ("POST", "/predict"),
        "verify": ("POST", "/v1/predictions/prd_1/outcome"),
        "submit": ("POST", "/v1/experiments"),
        "admin": ("POST", "/v1/models/rollback"),
    }
    for needed, (method, path) in requests.items():
        refused = status(stranger, text, method, path) == 403
        assert refused is (scope not in (needed, "admin"))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[:-1] + ("a" if text[-1] != "a" else "b"),
        lambda text: text[:-1],
        lambda text: text + "a",
        lambda text: text.upper(),
        lambda text: text.replace("dt_", "", 1),
        lambda _text: "dt_" + "a" * 8 + "_" + "a" * 32,
        lambda _text: "",
        lambda _text: "dt_" + "é" * 8,
    ],
)
def test_anything_but_the_exact_key_is_refused(
    stranger: TestClient, database: Database, spoil: Callable[[str], str]
) -> None:
    _, text = make(database, "admin")
    assert status(stranger, text) == 200
    assert stranger.get("/v1/models", headers={"Authorization": f"Bearer {spoil(text)}".encode()}).status_code == 401


def test_a_key_is_no_password(stranger: TestClient, database: Database) -> None:
    _, text = make(database, "read")
    refused = stranger.get("/v1/models", auth=("anyone", text), headers={"Accept": "text/html"})
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, 'Bearer realm="DermaTriage"')


def test_only_a_hash_of_the_secret_is_stored(database: Database) -> None:
    key_id, text = make(database, "read")
    with database.read() as session:
        row = session.get_one(ApiKey, key_id)
        stored = " ".join(str(getattr(row, column.key)) for column in ApiKey.__mapper__.column_attrs)
    secret = text.rsplit("_", 1)[1]
    assert secret not in stored
    assert row.secret_sha256 == hashlib.sha256(secret.encode()).hexdigest()
    assert len(secret) * 5 >= 128


@pytest.mark.both_databases
def test_revoked_and_expired_keys_are_refused(guarded: FastAPI, stranger: TestClient, database: Database) -> None:
    revoked_id, revoked = make(database, "read")
    _, expired = make(database, "read", expires=timedelta(seconds=-1))
    assert (status(stranger, revoked), status(stranger, expired)) == (200, 401)
    with database.write() as session:
        keys.revoke(session, revoked_id)
    guarded.state.service.keyring.refresh()
    assert status(stranger, revoked) == 401
    with database.write() as session, pytest.raises(KeyNotFound):
        keys.revoke(session, revoked_id)


@pytest.mark.both_databases
def test_rotated_key_has_a_successor_and_an_end(guarded: FastAPI, stranger: TestClient, database: Database) -> None:
    old_id, old = make(database, "read", expires=timedelta(days=30))
    with database.write() as session:
        fresh, new = keys.rotate(session, old_id, timedelta(0))
        assert (fresh.name, fresh.scopes) == ("robot", ["read"])
        assert fresh.expires_at is not None
        assert fresh.expires_at - fresh.created_at == timedelta(days=30)
    guarded.state.service.keyring.refresh()
    assert (status(stranger, old), status(stranger, new)) == (401, 200)


@pytest.mark.both_databases
def test_last_use_is_written_with_the_next_refresh(guarded: FastAPI, stranger: TestClient, database: Database) -> None:
    key_id, text = make(database, "read")
    assert status(stranger, text) == 200
    guarded.state.service.keyring.refresh()
    with database.read() as session:
        assert session.scalar(select(ApiKey.last_used_at).where(ApiKey.id == key_id)) is not None


@pytest.mark.parametrize(("name", "scopes"), [("", ["read"]), ("a\nb", ["read"]), ("a", []), ("a", ["root"])])
def test_key_without_a_proper_name_or_scope_is_refused(database: Database, name: str, scopes: list[Any]) -> None:
    with database.write() as session, pytest.raises(KeyRefused):
        keys.create(session, name, scopes)


def test_change_is_recorded_under_the_name_of_the_key(
    stranger: TestClient, database: Database, make_model: Callable[..., str]
) -> None:
    version = make_model()
    _, text = make(database, "admin")
    moved = stranger.post(f"/v1/models/{version}/promote", json={"reason": "test"}, headers=bearer(text))
    assert moved.json()["actor"] == "robot"


def test_experiment_names_the_key_that_submitted_it_and_a_retry_by_another_keeps_the_name(
    stranger: TestClient, database: Database
) -> None:
    with database.write() as session:
        ann, ben = (keys.create(session, name, ["read", "submit"])[1] for name in ("ann", "ben"))
    spec = {"dataset": "synthetic", "architectures": ["CNN_v1"], "strategies": []}
    first = stranger.post("/v1/experiments", json=spec, headers=bearer(ann)).json()
    assert first["submitted_by"] == "ann"
    with database.write() as session:
        runs.fail_experiment(session, first["id"], {"kind": "TrialCrashed", "message": "test"})
        (trial,) = runs.trials_of(session, first["id"])
        trial.status = "failed"
    retried = stranger.post(f"/v1/experiments/{first['id']}/retry", headers=bearer(ben))
    assert (retried.status_code, retried.json()["submitted_by"]) == (202, "ann")
    assert stranger.post("/v1/experiments", json=spec, headers=bearer(ben)).json()["submitted_by"] == "ben"


def test_without_keys_nobody_is_on_record_as_the_submitter(client: TestClient) -> None:
    assert client.post("/v1/experiments", json={"dataset": "synthetic"}).json()["submitted_by"] is None


def test_caller_above_the_rate_limit_is_answered_with_retry_after(
    settings: Settings, database: Database, storage: Storage
) -> None:
    app = create_app(settings.model_copy(update={"requests_per_minute": 3}), database=database, storage=storage)
    with TestClient(app) as client:
        answers = [client.get("/v1/models") for _ in range(4)]
        healthy = client.get("/healthz")
    assert healthy.status_code == 200
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[3].headers["Retry-After"]) <= 20
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"requests";q=3;w=60'}
    limits = [re.fullmatch(r'"requests";r=(\d);t=(\d+)', answer.headers["RateLimit"]) for answer in answers]
    assert [limit and limit[1] for limit in limits] == ["2", "1", "0", "0"]
    assert limits[3] is not None
    assert limits[3][2] == answers[3].headers["Retry-After"]
    assert "RateLimit" not in healthy.headers


def test_tokens_come_back_with_time_and_callers_do_not_share() -> None:
    moment = 0.0
    rates = Rates(60, clock=lambda: moment)
    assert [rates.take("a").granted for _ in range(61)] == [True] * 60 + [False]
    assert rates.take("b") == RateLimit(True, limit=60, remaining=59, seconds_to_next=1)
    moment = 2.0
    assert [rates.take("a").granted for _ in range(3)] == [True, True, False]
    for number in range(2 * MAX_CALLERS):
        rates.take(str(number))
    assert len(rates._buckets) <= MAX_CALLERS


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 409),
        ({"Origin": "http://elsewhere.test"}, 403),
        ({"Origin": "http://testserver:81"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://testserver"}, 409),
        ({"Origin": "https://testserver"}, 409),
        ({"Origin": "http://elsewhere.test", "Sec-Fetch-Site": "same-origin"}, 409),
        ({"Host": "rebound.example.org:8000"}, 403),
        ({"Host": "127.0.0.1:8000"}, 409),
        ({"Host": "[::1]:8000"}, 409),
        ({"Host": "localhost"}, 409),
    ],
)
def test_other_sites_cannot_use_an_open_server_through_a_browser(
    client: TestClient, headers: dict[str, str], expected: int
) -> None:
    assert client.post("/v1/models/rollback", json={"reason": "x"}, headers=headers).status_code == expected


def test_a_page_that_came_by_plain_http_cannot_use_a_site_with_tls(
    settings: Settings, database: Database, storage: Storage
) -> None:
    app = create_app(settings, database=database, storage=storage)
    with TestClient(app, base_url="https://localhost") as client:
        requests = [("http://localhost", 403), ("https://localhost", 409)]
        for origin, expected in requests:
            answer = client.post("/v1/models/rollback", json={"reason": "x"}, headers={"Origin": origin})
            assert answer.status_code == expected


def test_signing_in_and_other_traffic_of_an_address_do_not_use_each_other_up(
    settings: Settings, database: Database, storage: Storage
) -> None:
    few = settings.model_copy(update={"auth": "keys", "requests_per_minute": 3})
    app = create_app(few, database=database, storage=storage)
    _, text = make(database, "read")

    def sign_in(client: TestClient) -> int:
        return client.post("/sign-in", data={"key": text}, follow_redirects=False).status_code

    with TestClient(app) as client:
        here, there = (TestClient(app, client=(host, 50_000)) for host in ("203.0.113.1", "203.0.113.2"))
        assert [here.get("/v1/models").status_code for _ in range(4)] == [401, 401, 401, 429]
        assert [sign_in(here) for _ in range(4)] == [303, 303, 303, 429]
        assert sign_in(there) == 303
        here.cookies.clear()
        assert client.get("/v1/models", headers=bearer(text)).status_code == 200


@pytest.mark.both_databases
def test_an_idempotency_key_belongs_to_the_caller_who_sent_it(stranger: TestClient, database: Database) -> None:
    spec, (_, one), (_, other) = {"dataset": "synthetic"}, make(database, "submit"), make(database, "submit")

    def submit(text: str) -> str:
        headers = {**bearer(text), "Idempotency-Key": "nightly"}
        return str(stranger.post("/v1/experiments", json=spec, headers=headers).raise_for_status().json()["id"])

    assert submit(one) == submit(one)
    assert submit(other) != submit(one)
