"""A full disk leaves existing files, and the error names the cause."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from models_store.files import replacing
from models_store.store import bundles
from models_store.store.bundles import COMPLETED_FILES
from models_store.store.storage import Storage
from workers.trial import resume_store

DISK_BYTES = 2**20
TOO_MUCH = b"x" * (2 * DISK_BYTES)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can be mounted by root only")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def write_file(path: Path) -> None:
    with replacing(path) as beside:
        beside.write_bytes(TOO_MUCH)


def write_resume_point(path: Path) -> None:
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez(file, weights=np.frombuffer(TOO_MUCH, dtype=np.uint8))


def put_into_store(path: Path) -> None:
    source = path.parent.parent / "large"
    source.write_bytes(TOO_MUCH)
    Storage(str(path.parent)).put_file(source, path.name)


@pytest.mark.parametrize("write", [write_file, write_resume_point, put_into_store])
def test_full_disk_leaves_the_previous_file_and_nothing_half_written(
    small_disk: Path, write: Callable[[Path], None]
) -> None:
    path = small_disk / "best.keras"
    path.write_bytes(b"the previous one")

    with pytest.raises(OSError, match="No space left on device"):
        write(path)

    assert path.read_bytes() == b"the previous one"
    assert [entry.name for entry in small_disk.iterdir()] == ["best.keras"]


def test_bundle_that_did_not_fit_has_no_manifest(small_disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in COMPLETED_FILES:
        (folder / name).write_bytes(b"small")
    bundles.complete(folder)
    (folder / "model.onnx").write_bytes(TOO_MUCH)
    storage = Storage(str(small_disk))

    with pytest.raises(OSError, match="No space left on device"):
        bundles.upload(folder, storage, "models/1")

    assert not storage.exists("models/1/manifest.json")


def test_resume_point_that_cannot_be_packed_leaves_the_trial_its_own(small_disk: Path, tmp_path: Path) -> None:
    trial = small_disk / "trl_1"
    (trial / "resume").mkdir(parents=True)
    (trial / "resume" / "state.npz").write_bytes(b"x" * int(DISK_BYTES * 0.6))

    with pytest.raises(OSError, match="No space left on device"):
        resume_store.upload(trial, "trl_1", Storage(str(tmp_path / "store")))

    assert [entry.name for entry in trial.iterdir()] == ["resume"]
    assert Storage(str(tmp_path / "store")).keys("resume") == []
