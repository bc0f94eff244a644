"""A trained model on disk: frozen before the test set is opened, complete once it was evaluated, verified when loaded.

frozen.json     what was trained and the sha256 of every frozen file; its own sha256 identifies the frozen bundle
model.onnx      answers requests
model.keras     for further training
calibration.json    threshold, guarantee and probability calibration
likeness.npz    what training images look like to the network; bundles of version 0.1 lack it
validation.json     scores of the selection and calibration images, for moving the threshold without the test set
metrics.json    the final evaluation, written after the test set was opened
misses.json     the malignant test images that the model let go most confidently
card.md         the model card
manifest.json   the sha256 of every file above; its own sha256 is recorded in the database
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_store.storage import Storage, sha256_of, written_whole

LIKENESS = "likeness.npz"
FROZEN_FILES = ("model.onnx", "model.keras", "calibration.json", "validation.json", LIKENESS)
COMPLETED_FILES = ("frozen.json", *FROZEN_FILES, "metrics.json", "misses.json", "card.md")
SERVED_FILES = ("frozen.json", "model.onnx", "calibration.json", LIKENESS)


class BundleAltered(RuntimeError):
    """A bundle's file is missing or is not the one that was written."""


@dataclass(frozen=True)
class Bundle:
    """The verified files that serving needs, in a local folder; `likeness` is None in bundles from before it."""

    folder: Path
    about: dict[str, Any]
    calibration: dict[str, Any]
    likeness: Path | None

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"


def write_json(path: Path, value: Any) -> None:
    """Sorted and indented, so that equal values give equal bytes. NaN and infinity are refused."""
    content = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    with written_whole(path) as file:
        file.write(content.encode() + b"\n")


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def freeze(folder: Path, about: dict[str, Any]) -> str:
    """Fixes model and threshold by their sha256s. Returns the sha256 that the test set is opened for."""
    write_json(folder / "frozen.json", {"about": about, "files": _digests(folder, FROZEN_FILES)})
    return sha256_of(folder / "frozen.json")


def complete(folder: Path) -> str:
    """Writes the manifest over every file. Returns its sha256, the root of all later verification."""
    write_json(folder / "manifest.json", {"files": _digests(folder, COMPLETED_FILES)})
    return sha256_of(folder / "manifest.json")


def upload(folder: Path, storage: Storage, store_key: str) -> None:
    """Stores a completed bundle; the manifest goes last, so that a bundle without one was never whole."""
    for name in (*COMPLETED_FILES, "manifest.json"):
        storage.put_file(folder / name, f"{store_key}/{name}")


def fetch(storage: Storage, store_key: str, manifest_sha256: str, folder: Path) -> Bundle:
    """Copies the files that serving needs into `folder` and verifies every byte. Raises like `fetch_files`."""
    known = manifest(storage, store_key, manifest_sha256, folder)
    wanted = tuple(name for name in SERVED_FILES if name != LIKENESS or name in known)
    fetch_files(storage, store_key, manifest_sha256, folder, wanted)
    about, calibration = read_json(folder / "frozen.json")["about"], read_json(folder / "calibration.json")
    return Bundle(folder, about, calibration, folder / LIKENESS if LIKENESS in known else None)


def manifest(storage: Storage, store_key: str, manifest_sha256: str, folder: Path) -> dict[str, str]:
    """The sha256 of each file of a bundle, by name. Raises like `fetch_files`."""
    storage.get_verified(f"{store_key}/manifest.json", manifest_sha256, folder / "manifest.json")
    digests: dict[str, str] = read_json(folder / "manifest.json")["files"]
    return digests


def fetch_files(
    storage: Storage, store_key: str, manifest_sha256: str, folder: Path, names: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Copies the manifest and `names`, or everything it lists, into `folder`, verifies every byte, returns the names.

    Raises `BundleAltered` for a file that is missing from the manifest or differs from it, and `StoredFileMissing` or
    `StoredFileAltered` for what the store lost or changed.
    """
    digests = manifest(storage, store_key, manifest_sha256, folder)
    wanted = tuple(digests) if names is None else names
    for name in wanted:
        if name not in digests:
            raise BundleAltered(f"the manifest of {store_key} does not list {name}; the bundle is not complete")
        storage.get_verified(f"{store_key}/{name}", digests[name], folder / name)
    return (*wanted, "manifest.json")


def _digests(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BundleAltered(f"{folder} lacks {', '.join(missing)}; the bundle is not complete")
    return {name: sha256_of(folder / name) for name in names}
