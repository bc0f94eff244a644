"""Storage and bundles over a real S3 protocol server."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from models_store.files import sha256_of
from models_store.store import bundles
from models_store.store.bundles import COMPLETED_FILES, FROZEN_FILES, StoredBundle
from models_store.store.storage import Storage, StoredFileAltered, StoredFileMissing
from tests.final_model import a_calibration, an_about

# botocore and werkzeug, not this product, still call what Python 3.11 and later deprecate.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:(botocore|aiobotocore|moto|werkzeug).*")
BUCKET = "triage"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Storage:
    """A prefix of its own in a bucket, found through the usual variables of S3 clients."""
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    return Storage(f"s3://{BUCKET}/{tmp_path.name}")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "trained"
    folder.mkdir()
    for name in FROZEN_FILES:
        (folder / name).write_bytes(name.encode() * 1000)
    bundles.write_json(folder / "calibration.json", a_calibration(0.3))
    bundles.freeze(folder, an_about(dataset="dermamnist"))
    for name in COMPLETED_FILES:
        if not (folder / name).exists():
            (folder / name).write_bytes(name.encode())
    bundles.complete(folder)
    return folder


def overwrite(store: Storage, key: str, content: bytes) -> None:
    prefix = store.url.removeprefix(f"s3://{BUCKET}/")
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=content)


def test_bundle_is_served_as_it_was_stored(store: Storage, bundle: Path, tmp_path: Path) -> None:
    bundles.upload(bundle, store, "models/1")
    stored = StoredBundle(store, "models/1", sha256_of(bundle / "manifest.json"), tmp_path / "served")
    assert stored.path("model.onnx").read_bytes() == (bundle / "model.onnx").read_bytes()
    assert stored.calibration == a_calibration(0.3)


@pytest.mark.parametrize("name", ["manifest.json", "frozen.json", "model.onnx", "calibration.json"])
def test_altered_bundle_is_refused(store: Storage, bundle: Path, tmp_path: Path, name: str) -> None:
    bundles.upload(bundle, store, "models/1")
    overwrite(store, f"models/1/{name}", b"altered")
    with pytest.raises(StoredFileAltered, match=name):
        StoredBundle(store, "models/1", sha256_of(bundle / "manifest.json"), tmp_path / "served").path(name)
    assert not (tmp_path / "served" / name).exists()


def test_bundle_whose_upload_was_cut_short_is_none(store: Storage, bundle: Path, tmp_path: Path) -> None:
    bundles.upload(bundle, store, "models/1")
    store.delete("models/1/manifest.json")
    with pytest.raises(StoredFileMissing, match=r"manifest\.json"):
        StoredBundle(store, "models/1", sha256_of(bundle / "manifest.json"), tmp_path / "served")


def test_listing_shows_changes_by_other_processes_at_once(store: Storage, bundle: Path) -> None:
    other = Storage(store.url)
    assert store.keys("models") == []
    assert store.size("models") == 0
    bundles.upload(bundle, other, "models/1")
    assert store.keys("models") == sorted(f"models/1/{name}" for name in (*COMPLETED_FILES, "manifest.json"))
    assert store.size("models") == sum(path.stat().st_size for path in bundle.iterdir())
    other.delete("models/1")
    assert not store.exists("models/1/model.onnx")
    assert store.keys("models") == []


def test_deleting_what_is_gone_is_no_error(store: Storage) -> None:
    store.delete("resume/none")
