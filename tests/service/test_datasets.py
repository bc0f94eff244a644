"""Data sets over HTTP: what is recorded of them, and splits without shared lesions, made once a seed."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.datasets.labels import SPLITS
from models_store.datasets.registration import register
from models_store.datasets.synthetic import SYNTHETIC_SETS, generate
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import DatasetRow
from service.datasets.recording import record
from service.dependencies import Service

SIZES = (140, 30, 50)


@pytest.fixture
def clinic(database: Database, storage: Storage, tmp_path: Path) -> str:
    """A registered data set whose splits share lesions."""
    generate(tmp_path / "clinic.npz", counts=SIZES)
    return record(database, register(tmp_path / "clinic.npz", "clinic", storage=storage)).name


@pytest.fixture
def without_lesions(database: Database, storage: Storage, tmp_path: Path) -> str:
    generate(tmp_path / "plain.npz", counts=SIZES)
    (tmp_path / "plain_lesions.csv").unlink()
    return record(database, register(tmp_path / "plain.npz", "plain", storage=storage)).name


def images(counts: dict[str, dict[str, int]]) -> int:
    return sum(sum(classes.values()) for classes in counts.values())


def test_data_set_shows_what_its_splits_share(client: TestClient, clinic: str) -> None:
    read = client.get(f"/v1/datasets/{clinic}").json()
    assert read["shared_lesions"]["lesions"] > 0
    assert read["shared_lesions"].keys() == {"lesions", "val_images", "test_images"}
    assert (read["synthetic"], read["image_size"], read["made_from"]) == (True, 28, None)
    assert images(read["counts"]) == sum(SIZES)
    assert "lesions have images in more than one split" in read["notice"]
    assert client.get("/v1/datasets").json()["items"][-1] == read


def test_builtin_data_sets_state_what_limits_their_figures(client: TestClient) -> None:
    official, generated = (client.get(f"/v1/datasets/{name}").json()["notice"] for name in ("dermamnist", "synthetic"))
    assert official.startswith("About a third of the test images of DermaMNIST's official split show a lesion that is")
    assert generated == "The images are generated: figures on them say nothing about skin."


def test_data_set_that_nothing_is_known_to_limit_has_no_notice(client: TestClient, database: Database) -> None:
    described = {"image_size": 28, "counts": {}, "synthetic": False, "created_at": datetime.now(UTC)}
    with database.write() as session:
        session.add(DatasetRow(name="plain", sha256="0" * 64, store_key="datasets/0.npz", **described))
    assert client.get("/v1/datasets/plain").json()["notice"] is None


def test_split_is_a_data_set_of_its_own_without_shared_lesions(client: TestClient, clinic: str) -> None:
    answer = client.post(f"/v1/datasets/{clinic}/split", json={"seed": 7})

    assert answer.status_code == 201
    assert answer.headers["Location"] == "/v1/datasets/clinic_new_lesions_7"
    made = client.get(answer.headers["Location"]).json()
    assert made == answer.json()
    assert made["shared_lesions"] == {"lesions": 0, "val_images": 0, "test_images": 0}
    assert made["synthetic"]
    assert images(made["counts"]) == sum(SIZES)
    origin = {"dataset": clinic, "sha256": client.get(f"/v1/datasets/{clinic}").json()["sha256"]}
    assert made["made_from"] == {**origin, "split": "new_lesions", "seed": 7}


def test_split_keeps_the_patients_of_its_images(
    client: TestClient, database: Database, storage: Storage, tmp_path: Path
) -> None:
    generate(tmp_path / "clinic.npz", counts=SIZES)
    places = [f"{split},{index}" for split, size in zip(SPLITS, SIZES, strict=True) for index in range(size)]
    (tmp_path / "clinic_patients.csv").write_text("\n".join(["split,index,sex", *(f"{at},male" for at in places), ""]))
    record(database, register(tmp_path / "clinic.npz", "clinic", storage=storage))

    made = client.post("/v1/datasets/clinic/split", json={"seed": 0}).json()

    with database.read() as session:
        assert storage.exists(str(session.get_one(DatasetRow, made["name"]).patients_store_key))


def test_same_seed_makes_a_split_once_and_another_seed_makes_another(client: TestClient, clinic: str) -> None:
    first, again, other = (client.post(f"/v1/datasets/{clinic}/split", json={"seed": seed}) for seed in (0, 0, 1))
    assert [answer.status_code for answer in (first, again, other)] == [201, 200, 201]
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert other.json()["sha256"] != first.json()["sha256"]


def test_split_of_a_synthetic_set_that_is_built_in_can_be_made(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SYNTHETIC_SETS, "synthetic", (28, SIZES))
    made = client.post("/v1/datasets/synthetic/split", json={})
    assert made.status_code == 201
    assert made.json()["made_from"]["dataset"] == "synthetic"


def test_data_set_without_lesion_ids_is_refused_with_the_remedy(client: TestClient, without_lesions: str) -> None:
    for name in (without_lesions, "dermamnist"):
        refused = client.post(f"/v1/datasets/{name}/split", json={"seed": 0})
        problem = refused.json()
        assert (refused.status_code, problem["type"].rpartition("/")[2]) == (422, "lesions-unknown")
        assert "has no lesion ids" in problem["detail"]
        assert f"{name}_lesions.csv" in problem["remedy"]


def test_unknown_data_set_is_not_found(client: TestClient) -> None:
    for answer in (client.get("/v1/datasets/nowhere"), client.post("/v1/datasets/nowhere/split", json={})):
        assert answer.status_code == 404
        assert answer.json()["type"].endswith("dataset-not-found")
        assert "dataset register" in answer.json()["remedy"]


@pytest.mark.parametrize("body", [{"seed": -1}, {"seed": 2**32}, {"seed": "x"}, {"seeds": 1}])
def test_seed_is_checked(client: TestClient, body: dict[str, Any]) -> None:
    assert client.post("/v1/datasets/synthetic/split", json=body).status_code == 422


def test_name_of_a_split_that_is_taken_is_a_conflict(
    client: TestClient, clinic: str, database: Database, storage: Storage, tmp_path: Path
) -> None:
    generate(tmp_path / "other.npz", counts=SIZES, seed=1)
    record(database, register(tmp_path / "other.npz", f"{clinic}_new_lesions_0", storage=storage))
    refused = client.post(f"/v1/datasets/{clinic}/split", json={"seed": 0})
    assert refused.status_code == 409
    assert "Choose another seed" in refused.json()["remedy"]


def test_one_split_at_a_time(client: TestClient, clinic: str) -> None:
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    with service.splitting:
        refused = client.post(f"/v1/datasets/{clinic}/split", json={"seed": 0})
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "60")
    assert client.post(f"/v1/datasets/{clinic}/split", json={"seed": 0}).status_code == 201


def test_temporary_files_of_a_split_are_removed(client: TestClient, clinic: str, settings: Settings) -> None:
    client.post(f"/v1/datasets/{clinic}/split", json={"seed": 0})
    assert not list(settings.cache_root.glob("split-*"))
