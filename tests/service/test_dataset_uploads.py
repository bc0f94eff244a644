"""Data sets registered over HTTP: the same checks as on the server, streamed to disk, with limits of their own."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.datasets.labels import CLASS_NAMES, SPLITS
from models_store.datasets.lesions import lesions_path
from models_store.datasets.synthetic import generate
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import DatasetRow
from service.access import keys
from service.app import create_app
from service.dependencies import DATASET_UPLOADS, Service

SIZES = (140, 30, 50)
ADDRESS = "/v1/datasets?name=clinic"
FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\nPK'


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """A data set whose splits share lesions, with its lesions CSV beside it."""
    generate(tmp_path / "clinic.npz", counts=SIZES)
    return tmp_path / "clinic.npz"


def parts(path: Path, **others: bytes) -> dict[str, Any]:
    lesions = path.with_name(f"{path.stem}_lesions.csv").read_bytes()
    return {"file": path.read_bytes(), "lesions": lesions} | others


def kind(answer: Any) -> str:
    return str(answer.json()["type"]).rpartition("/")[2]


def relabelled(source: Path, target: Path, **labels: int) -> Path:
    """The data set `source` with one class id for all images of each split that is named, and its lesions."""
    with np.load(source) as archive:
        arrays = dict(archive)
    for split, label in labels.items():
        arrays[f"{split}_labels"] = np.full_like(arrays[f"{split}_labels"], label)
    np.savez(target, **arrays)
    lesions_path(target).write_bytes(lesions_path(source).read_bytes())
    return target


def left_behind(settings: Settings) -> list[Path]:
    return list(settings.cache_root.glob("upload-*"))


def test_file_and_its_lesions_are_registered_like_local_ones(
    client: TestClient, clinic: Path, storage: Storage, database: Database, settings: Settings
) -> None:
    answer = client.post(ADDRESS, files=parts(clinic))

    assert (answer.status_code, answer.headers["Location"]) == (201, "/v1/datasets/clinic")
    assert answer.json() == client.get("/v1/datasets/clinic").json()
    assert answer.json()["shared_lesions"]["lesions"] > 0
    assert sum(sum(classes.values()) for classes in answer.json()["counts"].values()) == sum(SIZES)
    with database.read() as session:
        row = session.get_one(DatasetRow, "clinic")
    assert b"".join(storage.read(row.store_key, 2**20)) == clinic.read_bytes()
    assert left_behind(settings) == []


def test_body_may_be_the_file_itself(client: TestClient, clinic: Path) -> None:
    answer = client.post(ADDRESS, content=clinic.read_bytes(), headers={"Content-Type": "application/octet-stream"})

    assert answer.status_code == 201
    assert answer.json()["shared_lesions"] is None


def test_patients_are_stored_with_the_file(client: TestClient, clinic: Path, database: Database) -> None:
    rows = [f"{split},{index},male" for split, size in zip(SPLITS, SIZES, strict=True) for index in range(size)]
    assert client.post(
        ADDRESS, files=parts(clinic, patients="\n".join(["split,index,sex", *rows, ""]).encode())
    ).is_success
    with database.read() as session:
        assert session.get_one(DatasetRow, "clinic").patients_store_key is not None


def test_same_file_again_changes_nothing_and_another_is_a_conflict(client: TestClient, clinic: Path) -> None:
    first, again = (client.post(ADDRESS, files=parts(clinic)) for _ in range(2))
    generate(clinic, counts=SIZES, seed=1)
    other = client.post(ADDRESS, files=parts(clinic))

    assert [answer.status_code for answer in (first, again, other)] == [201, 200, 409]
    assert again.json() == first.json()
    assert kind(other) == "dataset-name-refused"


def test_error_in_a_file_is_described_without_a_path_of_the_server(
    client: TestClient, clinic: Path, settings: Settings
) -> None:
    cut = client.post(ADDRESS, files={"file": clinic.read_bytes()[:-100]})
    few = client.post(ADDRESS, files=parts(clinic, lesions=b"split,index,image_id,lesion_id\ntrain,0,a,b\n"))

    assert [(answer.status_code, kind(answer)) for answer in (cut, few)] == [(422, "dataset-invalid")] * 2
    assert cut.json()["detail"].startswith("clinic.npz: the file is truncated")
    assert few.json()["detail"].startswith("clinic_lesions.csv: 1 rows name")
    assert client.get("/v1/datasets/clinic").status_code == 404
    assert left_behind(settings) == []


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("multipart/form-data", b"x", 400),
        (FORM, b"x", 400),
        (FORM, PART % b"file", 400),
        (FORM, PART % b"x" + b"\r\n--b--", 422),
        (FORM, PART % b"lesions" + b"\r\n--b--", 422),
        ("application/octet-stream", b"", 422),
    ],
)
def test_body_that_is_no_upload_is_refused(client: TestClient, content_type: str, body: bytes, status: int) -> None:
    answer = client.post(ADDRESS, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == status
    assert answer.json()["remedy"]


def test_invalid_name_is_refused_with_the_rule(client: TestClient) -> None:
    rule = "Use up to 64 lower-case letters, digits, '_', '-' and '.', starting with a letter or digit"
    for refused in (
        client.post("/v1/datasets", params={"name": "Not a name"}, content=b""),
        client.get("/v1/datasets/Not a name"),
        client.post("/v1/experiments", json={"dataset": "Not a name"}),
    ):
        assert (refused.status_code, refused.json()["errors"][0]["detail"]) == (422, rule)


@pytest.mark.parametrize(("name", "status"), [("Not a name", 422), ("dermamnist", 409)])
def test_name_is_refused_before_the_body_is_read(client: TestClient, name: str, status: int) -> None:
    assert client.post("/v1/datasets", params={"name": name}, content=b"").status_code == status


def test_file_that_claims_more_than_it_may_unpack_to_is_refused(
    settings: Settings, database: Database, storage: Storage, tmp_path: Path
) -> None:
    arrays = {f"{split}_images": np.zeros((600, 28, 28, 3), np.uint8) for split in SPLITS}
    np.savez_compressed(tmp_path / "bomb.npz", allow_pickle=False, **arrays)
    with small_client(settings, database, storage) as client:
        answer = client.post(ADDRESS, files={"file": (tmp_path / "bomb.npz").read_bytes()})
    assert (answer.status_code, kind(answer)) == (422, "dataset-invalid")
    assert "bytes, and 400,000 are accepted" in answer.json()["detail"]
    assert "dermatriage dataset register --direct" in answer.json()["remedy"]


def test_body_beyond_the_limit_is_413(settings: Settings, database: Database, storage: Storage) -> None:
    with small_client(settings, database, storage) as client:
        answer = client.post(ADDRESS, content=b"0" * 100_001)
    assert answer.status_code == 413
    assert "dermatriage dataset register --direct" in answer.json()["remedy"]


def test_encrypted_archive_is_a_damaged_one(client: TestClient, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for split in SPLITS:
            archive.writestr(f"{split}_images.npy", b"0" * 64)
            archive.writestr(f"{split}_labels.npy", b"0" * 64)
    content = (tmp_path / "a.npz").read_bytes()
    encrypted = content.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00")
    encrypted = encrypted.replace(b"PK\x03\x04\x14\x00\x00\x00", b"PK\x03\x04\x14\x00\x01\x00")
    assert encrypted != content
    answer = client.post(ADDRESS, content=encrypted)
    assert (answer.status_code, kind(answer)) == (422, "dataset-invalid")


def test_uploads_beyond_those_a_process_takes_in_are_503(client: TestClient, clinic: Path) -> None:
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    for _ in range(DATASET_UPLOADS):
        assert service.dataset_uploads.acquire(blocking=False)
    refused = client.post(ADDRESS, files=parts(clinic))
    service.dataset_uploads.release()
    assert (refused.status_code, kind(refused)) == (503, "overloaded")
    assert client.post(ADDRESS, files=parts(clinic)).status_code == 201


@pytest.fixture
def guarded(settings: Settings, database: Database, storage: Storage) -> Iterator[TestClient]:
    app: FastAPI = create_app(settings.model_copy(update={"auth": "keys"}), database=database, storage=storage)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(("scope", "status"), [("read", 403), ("predict", 403), ("submit", 201)])
def test_registering_takes_the_scope_submit(
    guarded: TestClient, database: Database, clinic: Path, scope: Any, status: int
) -> None:
    with database.write() as session:
        _, text = keys.create(session, "robot", [scope])
    answer = guarded.post(ADDRESS, files=parts(clinic), headers={"Authorization": f"Bearer {text}"})
    assert answer.status_code == status


def small_client(settings: Settings, database: Database, storage: Storage) -> TestClient:
    app = create_app(settings.model_copy(update={"max_dataset_bytes": 100_000}), database=database, storage=storage)
    return TestClient(app, raise_server_exceptions=False)


def test_split_without_malignant_images_is_refused_at_registration(
    client: TestClient, clinic: Path, tmp_path: Path
) -> None:
    benign = relabelled(clinic, tmp_path / "benign.npz", val=CLASS_NAMES.index("nv"))
    problem = client.post(ADDRESS, files=parts(benign)).json()
    assert (problem["status"], problem["type"]) == (422, "/problems/dataset-invalid")
    assert "the split val has 0 malignant of 30 images, and at least 1 is needed" in problem["detail"]
    assert "malignant and benign images in train, val and test" in problem["remedy"]


def test_too_few_malignant_lesions_for_the_guarantee_are_refused_at_submission_with_what_would_be_enough(
    client: TestClient, clinic: Path
) -> None:
    client.post(ADDRESS, files=parts(clinic))
    spec = {"dataset": "clinic", "architectures": ["CNN_v1"], "strategies": []}
    for address in ("/v1/experiments", "/v1/experiments/estimate"):
        problem = client.post(address, json=spec).json()
        assert (problem["status"], problem["type"]) == (422, "/problems/too-little-evidence")
        assert "needs at least 29 malignant lesions in the calibration part" in problem["detail"]
        assert "there are 6" in problem["detail"]
        assert problem["remedy"].startswith("Lower calibration.target_recall to 0.6 or calibration.confidence to 0.46")
        assert problem["errors"][0]["pointer"] == "/calibration/target_recall"
    for lowered in ({"target_recall": 0.6}, {"confidence": 0.46}):
        assert client.post("/v1/experiments", json=spec | {"calibration": lowered}).status_code == 202
