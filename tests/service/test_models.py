"""Reading, downloading, promoting and rolling back models over HTTP."""

import hashlib
import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy.pool import QueuePool
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.store.storage import Storage

MakeModel = Callable[..., str]
WHY = {"reason": "better recall"}


def champion(client: TestClient) -> str | None:
    champions = [model["version"] for model in client.get("/v1/models").json()["items"] if model["champion"]]
    return champions[0] if champions else None


def eventually(condition: Callable[[], bool], seconds: float = 1.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def promote(client: TestClient, version: str, **headers: str) -> Any:
    return client.post(f"/v1/models/{version}/promote", json=WHY, headers=headers)


@pytest.mark.both_databases
def test_models_are_listed_newest_first_in_pages(client: TestClient, make_model: MakeModel) -> None:
    made = [make_model() for _ in range(3)]
    first = client.get("/v1/models", params={"limit": 2}).json()
    rest = client.get("/v1/models", params={"cursor": first["next_cursor"]}).json()
    assert [model["version"] for model in first["items"] + rest["items"]] == made[::-1]
    assert rest["next_cursor"] is None


@pytest.mark.both_databases
def test_promoted_model_becomes_champion_and_the_history_says_why(client: TestClient, make_model: MakeModel) -> None:
    first, second = make_model(), make_model()
    assert champion(client) is None
    for version in (first, second):
        assert promote(client, version).status_code == 200
    assert champion(client) == second
    assert client.get(f"/v1/models/{second}").json()["champion"] is True
    moves = client.get("/v1/models/history").json()["items"]
    assert [(move["version"], move["previous"], move["reason"], move["actor"]) for move in moves] == [
        (second, first, "better recall", "local"),
        (first, None, "better recall", "local"),
    ]


@pytest.mark.both_databases
def test_rollback_makes_the_predecessor_champion_and_stops_at_the_first(
    client: TestClient, make_model: MakeModel
) -> None:
    first, second = make_model(promote=True), make_model(promote=True)
    assert champion(client) == second
    assert client.post("/v1/models/rollback", json=WHY).json()["version"] == first
    assert champion(client) == first
    answer = client.post("/v1/models/rollback", json=WHY)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/nothing-to-roll-back-to")


@pytest.mark.both_databases
def test_promotion_decided_on_an_old_revision_is_refused(client: TestClient, make_model: MakeModel) -> None:
    first, second = make_model(), make_model()
    etag = client.get(f"/v1/models/{first}").headers["ETag"]
    assert promote(client, first, **{"If-Match": etag}).headers["ETag"] == '"1"'
    answer = promote(client, second, **{"If-Match": etag})
    assert (answer.status_code, answer.json()["type"]) == (412, "/problems/revision-changed")
    assert champion(client) == first
    assert promote(client, second, **{"If-Match": '"1"'}).status_code == 200
    assert client.post("/v1/models/rollback", json=WHY, headers={"If-Match": '"1"'}).status_code == 412
    assert champion(client) == second


@pytest.mark.parametrize("etag", ['W/"1"', "one", '"1", "2"', '""'])
def test_if_match_that_is_no_etag_of_ours_is_refused(client: TestClient, make_model: MakeModel, etag: str) -> None:
    answer = promote(client, make_model(), **{"If-Match": etag})
    assert answer.status_code == 412
    assert champion(client) is None


@pytest.mark.parametrize("body", [{}, {"reason": ""}, {"reason": "a\x00"}, {"reason": "a", "force": True}])
def test_promotion_without_a_proper_reason_is_refused(
    client: TestClient, make_model: MakeModel, body: dict[str, Any]
) -> None:
    assert client.post(f"/v1/models/{make_model()}/promote", json=body).status_code == 422
    assert champion(client) is None


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/card"), ("GET", "/bundle"), ("POST", "/promote")])
def test_unknown_model_is_not_found(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, f"/v1/models/mdl_0{path}", json=WHY if method == "POST" else None)
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/model-not-found")


def test_card_is_the_bundles_markdown(client: TestClient, make_model: MakeModel) -> None:
    answer = client.get(f"/v1/models/{make_model(threshold=0.25)}/card")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.text == "# card.md of threshold 0.25"


def test_bundle_is_a_zip_of_everything_its_manifest_lists(client: TestClient, make_model: MakeModel) -> None:
    version = make_model()
    answer = client.get(f"/v1/models/{version}/bundle")
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    manifest = archive.read(f"{version}/manifest.json")
    assert hashlib.sha256(manifest).hexdigest() == client.get(f"/v1/models/{version}").json()["manifest_sha256"]
    digests = {
        name.split("/")[1]: hashlib.sha256(archive.read(name)).hexdigest()
        for name in archive.namelist()
        if not name.endswith("manifest.json")
    }
    assert digests == json.loads(manifest)["files"]


def test_bundle_is_sent_without_a_copy_on_disk_and_says_its_length(
    client: TestClient, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, copied = make_model(), []
    get_file = Storage.get_file

    def noted(self: Storage, key: str, target: Path) -> None:
        copied.append(key.rpartition("/")[2])
        get_file(self, key, target)

    monkeypatch.setattr(Storage, "get_file", noted)
    answer = client.get(f"/v1/models/{version}/bundle")
    assert set(copied) == {"manifest.json"}
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    assert answer.content == client.get(f"/v1/models/{version}/bundle").content


@pytest.mark.both_databases
@pytest.mark.parametrize(
    "address",
    [
        "/v1/models/{}/bundle",
        "/v1/models/{}/card",
        "/v1/models/{}/validation",
        "/models/{}",
    ],
)
def test_no_connection_to_the_database_is_held_while_the_store_is_read(
    client: TestClient,
    make_model: MakeModel,
    database: Database,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    version, held = make_model(), []
    get_file, pool = Storage.get_file, cast(QueuePool, database.engine.pool)

    def noted(self: Storage, key: str, target: Path) -> None:
        held.append(not eventually(lambda: pool.checkedout() == 0))  # other threads hold one for milliseconds
        get_file(self, key, target)

    monkeypatch.setattr(Storage, "get_file", noted)
    client.get(address.format(version))
    assert held
    assert not any(held)
