"""A key signs in to a session: what the cookie opens, what it does not, and how it ends."""

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import Experiment, SignIn
from service.access import keys, sessions
from service.access.keys import Scope
from service.access.sessions import COOKIE
from service.app import create_app
from service.dashboard.shell import PageRoute

SPEC = {"dataset": "synthetic", "architectures": ["CNN_v1"], "strategies": []}


@pytest.fixture
def guarded(settings: Settings, database: Database, storage: Storage) -> FastAPI:
    return create_app(settings.model_copy(update={"auth": "keys"}), database=database, storage=storage)


@pytest.fixture
def browser(guarded: FastAPI) -> Iterator[TestClient]:
    with TestClient(guarded, raise_server_exceptions=False, follow_redirects=False) as client:
        client.headers["Accept"] = "text/html"
        yield client


def make(database: Database, *scopes: Scope) -> tuple[str, str]:
    with database.write() as session:
        key, text = keys.create(session, "Ada", list(scopes))
        return key.id, text


def sign_in(browser: TestClient, text: str, **fields: str) -> str:
    """The token for forms, once signed in."""
    assert browser.post("/sign-in", data={"key": text, **fields}).status_code == 303
    found = re.search(r'name="form-token" content="([0-9a-f]{64})"', browser.get("/").text)
    assert found is not None
    return found[1]


def test_a_browser_without_a_session_is_redirected_to_sign_in_and_then_back(
    browser: TestClient, database: Database
) -> None:
    answer = browser.get("/models?limit=2")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/sign-in?next=%2Fmodels%3Flimit%3D2")
    _, text = make(database, "read")
    answer = browser.post("/sign-in", data={"key": text, "next": "/models?limit=2"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/models?limit=2")
    assert browser.get("/models?limit=2").status_code == 200


def test_a_program_without_a_key_gets_401(browser: TestClient) -> None:
    assert browser.get("/models", headers={"Accept": "*/*"}).status_code == 401
    assert browser.post("/experiments", data={}).status_code == 401


@pytest.mark.parametrize("wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/\nx"])
def test_signing_in_never_redirects_to_another_site(browser: TestClient, database: Database, wanted: str) -> None:
    _, text = make(database, "read")
    assert browser.post("/sign-in", data={"key": text, "next": wanted}).headers["Location"] == "/"


def test_the_cookie_is_kept_from_scripts_and_from_other_sites(browser: TestClient, database: Database) -> None:
    _, text = make(database, "read")
    plain = browser.post("/sign-in", data={"key": text}).headers["Set-Cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=strict" in plain
    assert "Max-Age=43200" in plain
    assert "Secure" not in plain
    behind_tls = browser.post("/sign-in", data={"key": text}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in behind_tls.headers["Set-Cookie"]


def test_only_a_hash_of_the_cookie_is_stored(browser: TestClient, database: Database) -> None:
    _, text = make(database, "read")
    sign_in(browser, text)
    with database.read() as session:
        (row,) = session.query(SignIn).all()
    assert row.token_sha256 != browser.cookies[COOKIE]
    assert row.expires_at > row.created_at


def test_an_invalid_key_is_refused_beside_the_field(browser: TestClient) -> None:
    answer = browser.post("/sign-in", data={"key": "dt_aaaaaaaa_" + "a" * 32})
    assert answer.status_code == 403
    assert 'aria-invalid="true"' in answer.text
    assert "may have been revoked" in answer.text


def test_signing_out_ends_the_session_and_not_only_the_cookie(browser: TestClient, database: Database) -> None:
    _, text = make(database, "read")
    token = sign_in(browser, text)
    cookie = browser.cookies[COOKIE]
    assert browser.post("/sign-out", data={"form_token": token}).headers["Location"] == "/sign-in"
    browser.cookies.clear()
    assert browser.get("/", headers={"Cookie": f"{COOKIE}={cookie}"}).status_code == 303


def test_a_session_ends_with_its_key(browser: TestClient, guarded: FastAPI, database: Database) -> None:
    key_id, text = make(database, "admin")
    sign_in(browser, text)
    with database.write() as session:
        keys.revoke(session, key_id)
    guarded.state.service.keyring.refresh()
    assert browser.get("/").status_code == 303


def test_a_key_has_only_its_newest_sessions(database: Database) -> None:
    (first, _), (other, _) = make(database, "read"), make(database, "read")
    with database.write() as session:
        others = sessions.begin(session, other)
        cookies = [sessions.begin(session, first) for _ in range(sessions.MAX_SESSIONS + 2)]
    with database.read() as session:
        active = sessions.active(session)
    assert set(active) == {sessions.digest(cookie) for cookie in [others, *cookies[2:]]}


def test_an_expired_session_is_refused(browser: TestClient, guarded: FastAPI, database: Database) -> None:
    _, text = make(database, "admin")
    sign_in(browser, text)
    with database.write() as session:
        for row in session.query(SignIn).all():
            row.expires_at = row.created_at
    guarded.state.service.keyring.refresh()
    assert browser.get("/").status_code == 303


def test_a_form_needs_the_token_of_its_session(browser: TestClient, database: Database) -> None:
    _, text = make(database, "admin")
    token = sign_in(browser, text)
    assert browser.post("/sign-out", data={}).status_code == 403
    assert browser.post("/sign-out", data={"form_token": "0" * 64}).status_code == 403
    assert browser.get("/").status_code == 200
    assert browser.post("/sign-out", data={"form_token": token}).status_code == 303


def test_the_cookie_alone_changes_nothing_over_the_api(browser: TestClient, database: Database) -> None:
    _, text = make(database, "admin")
    token = sign_in(browser, text)
    assert browser.post("/v1/experiments", json=SPEC).status_code == 403
    assert browser.post("/v1/experiments", json=SPEC, headers={"X-Form-Token": token}).status_code == 202
    elsewhere = {"X-Form-Token": token, "Sec-Fetch-Site": "cross-site"}
    assert browser.post("/v1/experiments", json=SPEC, headers=elsewhere).status_code == 403


def test_a_session_may_do_what_its_key_may(browser: TestClient, database: Database) -> None:
    _, text = make(database, "read")
    token = sign_in(browser, text)
    assert browser.post("/v1/experiments", json=SPEC, headers={"X-Form-Token": token}).status_code == 403
    assert browser.post("/experiments", data={"form_token": token}).status_code == 403


def test_every_form_is_checked_for_its_token(guarded: FastAPI) -> None:
    """Without `PageRoute`, another site could post a form with the cookie of the session."""
    for route in guarded.routes:
        if isinstance(route, APIRoute) and not route.path.startswith(("/v1/", "/predict")) and "POST" in route.methods:
            assert isinstance(route, PageRoute), route.path


def test_without_keys_there_is_nothing_to_sign_in_to(client: TestClient) -> None:
    assert client.get("/sign-in", follow_redirects=False).headers["Location"] == "/"
    assert "Sign out" not in client.get("/").text


def test_a_key_that_may_submit_may_use_the_form(guarded: FastAPI, database: Database) -> None:
    _, text = make(database, "submit")
    headers = {"Authorization": f"Bearer {text}"}
    with TestClient(guarded, headers=headers, follow_redirects=False) as client:
        assert client.post("/experiments", data=SPEC | {"class_weights": ["W3"]}).status_code == 303
        assert client.post("/models/rollback", data={}).status_code == 403


def test_pages_name_the_submitter_and_a_repeated_run_has_its_own(browser: TestClient, database: Database) -> None:
    _, text = make(database, "read", "submit")
    token = sign_in(browser, text)
    form = {
        "dataset": "synthetic",
        "architectures": ["CNN_v1"],
        "class_weights": ["W3"],
        "key": "k",
        "form_token": token,
    }
    page = browser.post("/experiments", data=form).headers["Location"]
    assert "</time> by Ada</p>" in browser.get(page).text
    assert "<small>by Ada</small>" in browser.get("/").text
    with database.write() as session:
        session.get_one(Experiment, page.rpartition("/")[2]).submitted_by = "Ben"
    again = browser.post("/experiments", data=form | {"key": "another"}).headers["Location"]
    assert "</time> by Ada</p>" in browser.get(again).text
    assert "</time> by Ben</p>" in browser.get(page).text
