"""A trained model on disk: frozen before the test set is opened, complete once it was evaluated, verified when loaded.

frozen.json     what was trained and the sha256 of every frozen file; its own sha256 identifies the frozen bundle
model.onnx      answers requests: uint8 pixels in, the calibrated probability out
model.keras     for further training; of an ensemble the first network, the others are model-2.keras and so on
calibration.json    threshold, guarantee and probability calibration
likeness.npz    distribution of the training images' features; bundles of version 0.1 lack it
validation.json     scores of the selection and calibration images, for moving the threshold without the test set
metrics.json    the final evaluation, written after the test set was opened
misses.json     the malignant test images that the model let go most confidently
test_scores.csv     index, label and score of every test image
predict.py, preprocessing.json, check.png, check.json, README.md    to use the model without this product
card.md         the model card
manifest.json   the sha256 of every file above, and whose signature it has; its own sha256 is in the database
signature.json  the signature of the manifest; older bundles, and those of workers without a key, lack it
"""

import hashlib
import json
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models_store.contract.records import About
from models_store.contract.specs import Record
from models_store.files import replacing, sha256_of
from models_store.store.signatures import Signer, Trusted
from models_store.store.storage import Storage

DISTRIBUTION = "likeness.npz"
FROZEN_FILES = ("model.onnx", "model.keras", "calibration.json", "validation.json", DISTRIBUTION)
FURTHER_NETWORKS = "model-*.keras"
STANDALONE_FILES = ("predict.py", "preprocessing.json", "check.png", "check.json", "README.md")
EVALUATED_FILES = ("metrics.json", "misses.json", "test_scores.csv", "card.md")
COMPLETED_FILES = ("frozen.json", *FROZEN_FILES, *EVALUATED_FILES, *STANDALONE_FILES)
MANIFEST, SIGNATURE, SIGNED_BY = "manifest.json", "signature.json", "signed_by"
SERVED_FILES = ("frozen.json", "model.onnx", "calibration.json", DISTRIBUTION)


class BundleAltered(RuntimeError):
    """A bundle's file is missing or is not the one that was written."""


class NotInBundle(BundleAltered):
    """The manifest does not list a file: the bundle is older than it, or incomplete."""


@dataclass(frozen=True)
class Bundle:
    """The verified files that serving needs, in a local folder; `distribution` is None in old bundles."""

    folder: Path
    about: dict[str, Any]
    calibration: dict[str, Any]
    distribution: Path | None

    @property
    def onnx(self) -> Path:
        return self.folder / "model.onnx"


def write_json(path: Path, value: Any) -> None:
    """Sorted and indented, so that equal values, records among them, give equal bytes. NaN and infinity are refused."""
    value = value.model_dump(mode="json") if isinstance(value, Record) else value
    content = json.dumps(value, indent=2, sort_keys=True, allow_nan=False)
    with replacing(path) as beside:
        beside.write_text(content + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def freeze(folder: Path, about: About) -> str:
    """Fixes model and threshold by their sha256s. Returns the sha256 that the test set is opened for."""
    write_json(
        folder / "frozen.json",
        {"about": about.model_dump(mode="json"), "files": _digests(folder, (*FROZEN_FILES, *_further(folder)))},
    )
    return sha256_of(folder / "frozen.json")


def complete(folder: Path, signer: Signer | None = None) -> str:
    """Writes the manifest over every file, signed if there is a signer.

    Returns its sha256, the root of all later verification. The manifest names its signer, so that a signature cannot be
    taken away unnoticed.
    """
    files = {"files": _digests(folder, (*COMPLETED_FILES, *_further(folder)))}
    write_json(folder / MANIFEST, files if signer is None else files | {SIGNED_BY: signer.key_id})
    if signer is not None:
        write_json(folder / SIGNATURE, signer.sign((folder / MANIFEST).read_bytes()))
    return sha256_of(folder / MANIFEST)


def upload(folder: Path, storage: Storage, store_key: str) -> None:
    """Stores a completed bundle; the manifest goes last, so that a bundle without one was never whole."""
    signature = (SIGNATURE,) if (folder / SIGNATURE).exists() else ()
    for name in (*read_json(folder / MANIFEST)["files"], *signature, MANIFEST):
        storage.put_file(folder / name, f"{store_key}/{name}")


def fetch(storage: Storage, store_key: str, manifest_sha256: str, folder: Path) -> Bundle:
    """Copies the files that serving needs into `folder` and verifies every byte. Raises like `fetch_files`."""
    known = manifest(storage, store_key, manifest_sha256, folder)
    wanted = tuple(name for name in SERVED_FILES if name != DISTRIBUTION or name in known)
    fetch_files(storage, store_key, manifest_sha256, folder, wanted)
    about, calibration = read_json(folder / "frozen.json")["about"], read_json(folder / "calibration.json")
    return Bundle(folder, about, calibration, folder / DISTRIBUTION if DISTRIBUTION in known else None)


def manifest(storage: Storage, store_key: str, manifest_sha256: str, folder: Path) -> dict[str, str]:
    """The sha256 of each file of a bundle, by name, once its signature was checked. Raises like `fetch_files`."""
    storage.get_verified(f"{store_key}/{MANIFEST}", manifest_sha256, folder / MANIFEST)
    if storage.trusted.keys and signer_of(folder) is not None:
        storage.get_file(f"{store_key}/{SIGNATURE}", folder / SIGNATURE)
    _check_signature(folder, storage.trusted, store_key)
    digests: dict[str, str] = read_json(folder / MANIFEST)["files"]
    return digests


def signer_of(folder: Path | zipfile.Path) -> str | None:
    """The id of the key that the manifest names as its signer's; None where nobody signed."""
    signer: str | None = json.loads((folder / MANIFEST).read_bytes()).get(SIGNED_BY)
    return signer


def verify(folder: Path | zipfile.Path, trusted: Trusted) -> str:
    """Checks every file of a complete bundle, wherever it is, and returns the sha256 of its manifest.

    Raises `BundleAltered` for a file that is missing, changed or not of the bundle, and for a signature that `trusted`
    refuses.
    """
    try:
        manifest = (folder / MANIFEST).read_bytes()
        digests: dict[str, str] = json.loads(manifest)["files"]
        for name, sha256 in digests.items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != sha256:
                raise BundleAltered(f"{name} is not the file that the manifest lists")
    except (OSError, zipfile.BadZipFile, zlib.error, LookupError, ValueError, TypeError, AttributeError) as error:
        raise BundleAltered(f"it is not a complete bundle ({type(error).__name__}: {error})") from error
    strange = {entry.name for entry in folder.iterdir()} - {*digests, MANIFEST, SIGNATURE}
    if strange:
        raise BundleAltered(f"the manifest does not list {', '.join(sorted(strange))}")
    _check_signature(folder, trusted, "this bundle")
    return hashlib.sha256(manifest).hexdigest()


def _check_signature(folder: Path | zipfile.Path, trusted: Trusted, named: str) -> None:
    signer = signer_of(folder)
    if signer is None and trusted.required:
        raise BundleAltered(f"{named} is not signed, and only signed bundles are taken here")
    if signer is None or not trusted.keys:
        return
    try:
        signature = json.loads((folder / SIGNATURE).read_bytes())
        trusted.check((folder / MANIFEST).read_bytes(), signature)
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise BundleAltered(f"the signature of {named} is refused: {error}") from error


def fetch_files(
    storage: Storage, store_key: str, manifest_sha256: str, folder: Path, names: tuple[str, ...] | None = None
) -> tuple[str, ...]:
    """Copies the manifest and `names`, or everything it lists, into `folder`, verifies every byte, returns the names.

    Raises `NotInBundle` for a file that the manifest does not list, `BundleAltered` for a signature that is refused,
    and `StoredFileMissing` or `StoredFileAltered` for what the store lost or changed.
    """
    digests = manifest(storage, store_key, manifest_sha256, folder)
    wanted = tuple(digests) if names is None else names
    for name in wanted:
        if name not in digests:
            raise NotInBundle(f"the manifest of {store_key} does not list {name}; the bundle is not complete")
        storage.get_verified(f"{store_key}/{name}", digests[name], folder / name)
    return (*wanted, MANIFEST)


def _further(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.glob(FURTHER_NETWORKS)))


def _digests(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BundleAltered(f"{folder} lacks {', '.join(missing)}; the bundle is not complete")
    return {name: sha256_of(folder / name) for name in names}
