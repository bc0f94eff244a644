"""Bundles: frozen before the test, complete afterwards, and refused when a single byte differs."""

from pathlib import Path
from typing import Any

import pytest

from models_store.files import sha256_of
from models_store.store import bundles
from models_store.store.bundles import (
    COMPLETED_FILES,
    DISTRIBUTION,
    FROZEN_FILES,
    BundleAltered,
    BundleUnreadable,
    NotInBundle,
    StoredBundle,
)
from models_store.store.storage import Storage, StoredFileAltered, StoredFileMissing
from tests.final_model import a_calibration, an_about

KEY = "models/1"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What Phase 3 has written before it freezes."""
    folder = tmp_path / "trained"
    folder.mkdir()
    for name in FROZEN_FILES:
        (folder / name).write_bytes(name.encode())
    bundles.write_json(folder / "calibration.json", a_calibration(0.3))
    return folder


def completed(folder: Path) -> str:
    bundles.freeze(folder, an_about(dataset="dermamnist"))
    for name in COMPLETED_FILES:
        if not (folder / name).exists():
            (folder / name).write_bytes(name.encode())
    return bundles.complete(folder)


def test_fetched_bundle_is_the_one_that_was_uploaded(folder: Path, storage: Storage, tmp_path: Path) -> None:
    manifest_sha256 = completed(folder)
    bundles.upload(folder, storage, KEY)
    bundle = StoredBundle(storage, KEY, manifest_sha256, tmp_path / "fetched")
    assert bundle.about == an_about(dataset="dermamnist")
    assert bundle.calibration == a_calibration(0.3)
    assert sha256_of(bundle.path("model.onnx")) == sha256_of(folder / "model.onnx")


def test_everything_the_manifest_lists_can_be_fetched(folder: Path, storage: Storage, tmp_path: Path) -> None:
    manifest_sha256 = completed(folder)
    bundles.upload(folder, storage, KEY)
    bundle = StoredBundle(storage, KEY, manifest_sha256, tmp_path / "all")
    assert {bundle.path(name).read_bytes() == (folder / name).read_bytes() for name in bundle.files} == {True}
    assert {path.name for path in (tmp_path / "all").iterdir()} == {*COMPLETED_FILES, "manifest.json"}


def test_bundle_of_a_version_without_the_distribution_is_fetched_without_it(
    folder: Path, storage: Storage, tmp_path: Path
) -> None:
    completed(folder)
    bundles.upload(folder, storage, KEY)
    files = bundles.read_json(folder / "manifest.json")["files"]
    del files[bundles.DISTRIBUTION]
    bundles.write_json(tmp_path / "store" / KEY / "manifest.json", {"files": files})
    older = sha256_of(tmp_path / "store" / KEY / "manifest.json")
    assert DISTRIBUTION not in StoredBundle(storage, KEY, older, tmp_path / "fetched").files


@pytest.mark.parametrize("name", ["manifest.json", "frozen.json", "model.onnx", "calibration.json", "likeness.npz"])
def test_bundle_with_one_byte_changed_is_refused(folder: Path, storage: Storage, tmp_path: Path, name: str) -> None:
    manifest_sha256 = completed(folder)
    bundles.upload(folder, storage, KEY)
    stored = tmp_path / "store" / KEY / name
    stored.write_bytes(bytes([stored.read_bytes()[0] ^ 1]) + stored.read_bytes()[1:])
    with pytest.raises(StoredFileAltered, match=name):
        StoredBundle(storage, KEY, manifest_sha256, tmp_path / "fetched").path(name)


def test_bundle_that_lost_a_file_is_refused(folder: Path, storage: Storage, tmp_path: Path) -> None:
    manifest_sha256 = completed(folder)
    bundles.upload(folder, storage, KEY)
    (tmp_path / "store" / KEY / "model.onnx").unlink()
    with pytest.raises(StoredFileMissing):
        StoredBundle(storage, KEY, manifest_sha256, tmp_path / "fetched").path("model.onnx")


def test_file_that_the_manifest_does_not_list_is_refused(folder: Path, storage: Storage, tmp_path: Path) -> None:
    manifest_sha256 = completed(folder)
    bundles.upload(folder, storage, KEY)
    with pytest.raises(NotInBundle, match=r"does not list extra\.bin"):
        StoredBundle(storage, KEY, manifest_sha256, tmp_path / "fetched").path("extra.bin")


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (a_calibration(0.3).model_dump() | {"votes": 3}, "votes: Extra inputs are not permitted"),
        (a_calibration(0.3).model_dump(exclude={"guarantee"}), "guarantee: Field required"),
        ([], "Input should be an object"),
    ],
)
def test_file_of_another_version_is_refused_with_its_key_and_a_remedy(
    folder: Path, storage: Storage, tmp_path: Path, content: Any, named: str
) -> None:
    bundles.write_json(folder / "calibration.json", content)
    manifest_sha256 = completed(folder)
    bundles.upload(folder, storage, KEY)
    with pytest.raises(
        BundleUnreadable, match=f"models/1/calibration.json is of another version: {named}; promote another model"
    ):
        _ = StoredBundle(storage, KEY, manifest_sha256, tmp_path / "fetched").calibration


def test_incomplete_bundle_is_neither_frozen_nor_completed(folder: Path) -> None:
    bundles.freeze(folder, an_about())
    with pytest.raises(BundleAltered, match=r"metrics\.json"):
        bundles.complete(folder)
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleAltered, match=r"model\.onnx"):
        bundles.freeze(folder, an_about())


def test_frozen_sha256_depends_on_content_and_threshold(folder: Path) -> None:
    first = bundles.freeze(folder, an_about())
    assert bundles.freeze(folder, an_about()) == first
    bundles.write_json(folder / "calibration.json", a_calibration(0.31))
    assert bundles.freeze(folder, an_about()) != first


def test_nan_is_not_written_as_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        bundles.write_json(tmp_path / "a.json", {"auc": float("nan")})
    assert list(tmp_path.iterdir()) == []
