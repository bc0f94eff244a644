"""A resume point reaches another machine unchanged and without other files."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from models_store.contract.outcomes import ResumePoint
from models_store.files import sha256_of
from models_store.store.storage import Storage
from workers.pipeline.training.progress import RESUME_FOLDER, RESUME_STATE
from workers.trial import resume_store


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store"))


def trial_folder(folder: Path, epochs: int) -> Path:
    point = folder / RESUME_FOLDER
    point.mkdir(parents=True)
    history = json.dumps({"epochs": list(range(epochs))}).encode()
    np.savez(point / RESUME_STATE, history=np.frombuffer(history, np.uint8))
    (point / "epoch-1.keras").write_bytes(b"weights")
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_fetched_resume_point_is_the_one_that_was_stored(tmp_path: Path, storage: Storage) -> None:
    here, elsewhere = trial_folder(tmp_path / "here", epochs=2), trial_folder(tmp_path / "elsewhere", epochs=1)
    point = resume_store.upload(here, "trl_1", storage)
    resume_store.fetch_if_further(
        ResumePoint(key=point.key, sha256=point.sha256, epochs=point.epochs), elsewhere, storage
    )
    assert files_of(elsewhere) == files_of(here)


def test_resume_point_that_is_no_further_is_left_alone(tmp_path: Path, storage: Storage) -> None:
    here, elsewhere = trial_folder(tmp_path / "here", epochs=2), trial_folder(tmp_path / "elsewhere", epochs=2)
    point = resume_store.upload(here, "trl_1", storage)
    before = files_of(elsewhere) | {f"{RESUME_FOLDER}/own": b"own"}
    (elsewhere / RESUME_FOLDER / "own").write_bytes(b"own")
    resume_store.fetch_if_further(
        ResumePoint(key=point.key, sha256=point.sha256, epochs=point.epochs), elsewhere, storage
    )
    assert files_of(elsewhere) == before


def test_archive_writes_nowhere_but_into_the_resume_point(tmp_path: Path, storage: Storage) -> None:
    packed = tmp_path / "made.tar"
    with tarfile.open(packed, "w") as archive:
        for name in ("../../outside", "/tmp/outside", f"{RESUME_FOLDER}/inside"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
        link = tarfile.TarInfo(f"{RESUME_FOLDER}/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    storage.put_file(packed, "resume/trl_1/made.tar")
    folder = tmp_path / "deep" / "folder"
    folder.mkdir(parents=True)
    stored = ResumePoint(key="resume/trl_1/made.tar", sha256=sha256_of(packed), epochs=1)
    resume_store.fetch_if_further(stored, folder, storage)
    assert set(files_of(tmp_path / "deep")) == {
        f"folder/{RESUME_FOLDER}/inside",
        f"folder/{RESUME_FOLDER}/outside",
    }
