"""Resume points in the store, so that another machine can continue: one file each, with its hash and a new key."""

import json
import shutil
import tarfile
import time
import uuid
from pathlib import Path

import numpy as np

from models_store.contract.outcomes import ResumePoint
from models_store.files import sha256_of
from models_store.store.folders import trial_resume_points
from models_store.store.storage import Storage
from workers.pipeline.training.progress import RESUME_FOLDER, RESUME_STATE


def epochs_behind(folder: Path) -> int:
    """The number of epochs before the resume point in a trial's folder; 0 without one."""
    state = folder / RESUME_FOLDER / RESUME_STATE
    if not state.exists():
        return 0
    with np.load(state, allow_pickle=False) as saved:
        return len(json.loads(saved["history"].tobytes())["epochs"])


def upload(folder: Path, trial_id: str, storage: Storage) -> ResumePoint:
    """Puts the resume point of a trial's folder into the store. Nothing may write to the folder meanwhile."""
    packed = folder / "resume.tar"
    try:
        with tarfile.open(packed, "w") as archive:
            archive.add(folder / RESUME_FOLDER, arcname=RESUME_FOLDER)
        key = f"{trial_resume_points(trial_id)}/{uuid.uuid4().hex}.tar"
        storage.put_file(packed, key)
        return ResumePoint(key=key, sha256=sha256_of(packed), epochs=epochs_behind(folder))
    finally:
        packed.unlink(missing_ok=True)


def fetch_if_further(stored: ResumePoint | None, folder: Path, storage: Storage) -> None:
    """Replaces the folder's resume point by the stored one if that is further."""
    if stored is None or stored.epochs <= epochs_behind(folder):
        return
    packed = folder / "resume.tar"
    storage.get_verified(stored.key, stored.sha256, packed)
    discard(folder)
    with tarfile.open(packed) as archive:
        _unpack(archive, folder / RESUME_FOLDER)
    packed.unlink()


def discard(folder: Path) -> None:
    shutil.rmtree(folder / RESUME_FOLDER, ignore_errors=True)


def _unpack(archive: tarfile.TarFile, folder: Path) -> None:
    """Unpacks plain files by name alone; `extractall` has a filter for that only since Python 3.11.4."""
    folder.mkdir()
    for member in archive:
        content = archive.extractfile(member) if member.isfile() else None
        if content is not None:
            with content, (folder / Path(member.name).name).open("wb") as file:
                shutil.copyfileobj(content, file)


class UploadClock:
    """Bounds how often a trial uploads its resume point."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True
