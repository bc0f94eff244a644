"""A trained model on disk: frozen before the test set is opened, completed after its evaluation, verified when loaded.

frozen.json     what was trained and the sha256 of every frozen file; its own sha256 identifies the frozen bundle
model.onnx      answers requests: uint8 pixels in, the calibrated probability out
model.keras     for further training; of an ensemble the first network, the others are model-2.keras and so on
calibration.json    threshold, guarantee and probability calibration
likeness.npz    distribution of the training images' features; bundles of version 0.1 lack it
validation.json     scores of the selection and calibration images, for moving the threshold without the test set
metrics.json    the final evaluation, written after the test set was opened
misses.json     the malignant test images that the model most confidently called benign
test_scores.csv     index, diagnosis, label and score of every test image; bundles of version 0.1 lack it
predict.py, preprocessing.json, check.png, check.json, README.md    to use the model without this product
card.md         the model card
manifest.json   the sha256 of every file above, and whose signature it has; its own sha256 is in the database
signature.json  the signature of the manifest; older bundles, and those of workers without a key, lack it
"""

import hashlib
import json
import zipfile
import zlib
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from models_store.contract.figures import PicturedMiss
from models_store.contract.records import About, CalibrationRecord, Frozen, Validation
from models_store.files import replacing, sha256_of
from models_store.store.scored_test_set import ScoredTestSet
from models_store.store.signatures import Signer, Trusted
from models_store.store.storage import Storage

DISTRIBUTION = "likeness.npz"
FROZEN_FILES = ("model.onnx", "model.keras", "calibration.json", "validation.json", DISTRIBUTION)
FURTHER_NETWORKS = "model-*.keras"
STANDALONE_FILES = ("predict.py", "preprocessing.json", "check.png", "check.json", "README.md")
TEST_SCORES = "test_scores.csv"
EVALUATED_FILES = ("metrics.json", "misses.json", TEST_SCORES, "card.md")
COMPLETED_FILES = ("frozen.json", *FROZEN_FILES, *EVALUATED_FILES, *STANDALONE_FILES)
MANIFEST, SIGNATURE, SIGNED_BY = "manifest.json", "signature.json", "signed_by"
T = TypeVar("T")


class BundleAltered(RuntimeError):
    """A bundle's file is missing or is not the one that was written."""


class NotInBundle(BundleAltered):
    """The manifest does not list a file: the bundle is older than it, or incomplete."""


class BundleUnreadable(BundleAltered):
    """A file is intact but of another version: it lacks a key or has an unknown one."""


class StoredBundle:
    """A bundle in the store. Each file is copied into `folder` and verified at its first use.

    `files` is the sha256 of each by name. Raises `NotInBundle` for a file that the manifest does not list,
    `BundleUnreadable` for one whose content is of another version, `BundleAltered` for a signature that is refused, and
    `StoredFileMissing` or `StoredFileAltered` for files that the store lost or changed.
    """

    def __init__(self, storage: Storage, store_key: str, manifest_sha256: str, folder: Path) -> None:
        self._storage, self._store_key, self.folder = storage, store_key, folder
        storage.get_verified(f"{store_key}/{MANIFEST}", manifest_sha256, folder / MANIFEST)
        if storage.trusted.keys and signer_of(folder) is not None:
            storage.get_file(f"{store_key}/{SIGNATURE}", folder / SIGNATURE)
        _check_signature(folder, storage.trusted, store_key)
        self.files: dict[str, str] = read_json(folder / MANIFEST)["files"]

    @cached_property
    def about(self) -> About:
        return self._read("frozen.json", Frozen).about

    @cached_property
    def calibration(self) -> CalibrationRecord:
        return self._read("calibration.json", CalibrationRecord)

    @cached_property
    def validation(self) -> Validation:
        return self._read("validation.json", Validation)

    @cached_property
    def misses(self) -> tuple[PicturedMiss, ...]:
        return self._read("misses.json", tuple[PicturedMiss, ...])

    @cached_property
    def test_scores(self) -> ScoredTestSet:
        try:
            return ScoredTestSet.read(self.path(TEST_SCORES))
        except ValueError as error:
            raise self._unreadable(TEST_SCORES, str(error)) from error

    def path(self, name: str) -> Path:
        """Where the verified copy of a file is."""
        if name not in self.files:
            raise NotInBundle(f"the manifest of {self._store_key} does not list {name}; the bundle is not complete")
        self._storage.get_verified(f"{self._store_key}/{name}", self.files[name], self.folder / name)
        return self.folder / name

    def _read(self, name: str, kind: type[T]) -> T:
        try:
            return TypeAdapter(kind).validate_json(self.path(name).read_bytes())
        except ValidationError as error:
            raise self._unreadable(name, _first(error)) from error

    def _unreadable(self, name: str, finding: str) -> BundleUnreadable:
        return BundleUnreadable(
            f"{self._store_key}/{name} is of another version: {finding}; promote another model, or serve this one with "
            "the version that made it"
        )


def write_json(path: Path, value: Any) -> None:
    """Sorted and indented, so that equal values, records among them, give equal bytes. NaN and infinity are refused."""
    content = json.dumps(to_jsonable_python(value), indent=2, sort_keys=True, allow_nan=False)
    with replacing(path) as beside:
        beside.write_text(content + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def freeze(folder: Path, about: About) -> str:
    """Fixes model and threshold by their sha256s. Returns the sha256 that the test set is opened for."""
    files = _digests(folder, (*FROZEN_FILES, *_further(folder)))
    write_json(folder / "frozen.json", Frozen(about=about, files=files))
    return sha256_of(folder / "frozen.json")


def complete(folder: Path, signer: Signer | None = None) -> str:
    """Writes the manifest over every file, signed if there is a signer.

    Returns its sha256, the root of all later verification. The manifest names its signer, so that a signature cannot be
    removed unnoticed.
    """
    files = {"files": _digests(folder, (*COMPLETED_FILES, *_further(folder)))}
    write_json(folder / MANIFEST, files if signer is None else files | {SIGNED_BY: signer.key_id})
    if signer is not None:
        write_json(folder / SIGNATURE, signer.sign((folder / MANIFEST).read_bytes()))
    return sha256_of(folder / MANIFEST)


def upload(folder: Path, storage: Storage, store_key: str) -> None:
    """Stores a completed bundle; the manifest goes last, so that a bundle with a manifest is complete."""
    signature = (SIGNATURE,) if (folder / SIGNATURE).exists() else ()
    for name in (*read_json(folder / MANIFEST)["files"], *signature, MANIFEST):
        storage.put_file(folder / name, f"{store_key}/{name}")


def signer_of(folder: Path | zipfile.Path) -> str | None:
    """The id of the key that the manifest names as its signer's; None without a signature."""
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


def _first(error: ValidationError) -> str:
    finding = error.errors(include_url=False)[0]
    return ": ".join(filter(None, [".".join(map(str, finding["loc"])), finding["msg"]]))


def _further(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.glob(FURTHER_NETWORKS)))


def _digests(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BundleAltered(f"{folder} lacks {', '.join(missing)}; the bundle is not complete")
    return {name: sha256_of(folder / name) for name in names}
