"""Files by key in a folder and in any other fsspec file system: whole, verified, and never outside the store."""

from pathlib import Path
from typing import BinaryIO

import pytest

from models_store.files import replacing, sha256_of
from models_store.store.storage import Storage, StoredFileAltered, StoredFileMissing


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store") if request.param == "folder" else f"memory://{tmp_path}")


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "local.bin"
    path.write_bytes(b"weights")
    return path


def test_a_stored_file_comes_back_unchanged(store: Storage, local: Path, tmp_path: Path) -> None:
    store.put_file(local, "models/1/model.onnx")
    assert store.exists("models/1/model.onnx")
    store.get_verified("models/1/model.onnx", sha256_of(local), tmp_path / "new" / "copy")
    assert (tmp_path / "new" / "copy").read_bytes() == b"weights"


def test_missing_file_names_key_store_and_remedy(store: Storage, tmp_path: Path) -> None:
    with pytest.raises(StoredFileMissing, match=r"models/1 is not in the store .*DERMATRIAGE_STORE_URL"):
        store.get_file("models/1", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []


def test_altered_file_is_refused_and_not_left_behind(store: Storage, local: Path, tmp_path: Path) -> None:
    store.put_file(local, "a")
    with pytest.raises(StoredFileAltered, match="was recorded"):
        store.get_verified("a", "0" * 64, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_deleted_file_is_gone_and_deleting_again_is_no_error(store: Storage, local: Path) -> None:
    store.put_file(local, "models/1/a")
    for _ in range(2):
        store.delete("models/1")
        assert not store.exists("models/1/a")


def test_size_of_a_folder_is_that_of_its_files_at_any_depth(store: Storage, local: Path) -> None:
    for key in ("models/1/a", "models/1/b/c", "models/10/a"):
        store.put_file(local, key)
    assert store.size("models/1") == 2 * len(b"weights")
    assert store.size("models") == 3 * len(b"weights")
    assert store.size("trials") == 0


@pytest.mark.parametrize("key", ["/etc/passwd", "../secret", "models/../../secret", "models/.."])
def test_key_outside_the_store_is_refused(store: Storage, local: Path, key: str) -> None:
    for use in (store.exists, store.delete, lambda key: store.put_file(local, key)):
        with pytest.raises(ValueError, match="not a key inside the store"):
            use(key)


def write_half_and_crash(file: BinaryIO) -> None:
    file.write(b"half of the n")
    file.close()
    file.write(b"ew")


def test_crash_while_writing_leaves_the_previous_file(tmp_path: Path) -> None:
    target = tmp_path / "checkpoint"
    target.write_bytes(b"old")
    with pytest.raises(ValueError, match="closed"), replacing(target) as beside, beside.open("wb") as file:
        write_half_and_crash(file)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]
    assert target.read_bytes() == b"old"
