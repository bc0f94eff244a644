"""Registration: a file goes into the store, so that any worker can train on it by name."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError

from models_store.contract.specs import DatasetName
from models_store.datasets import evidence
from models_store.datasets.describe import class_counts
from models_store.datasets.errors import DatasetInvalid, DatasetNameRefused
from models_store.datasets.layout import Layout, verify_layout
from models_store.datasets.lesions import count_shared_lesions, lesions_path
from models_store.datasets.npz import check_every_byte
from models_store.datasets.patients import patients_path, read_patients
from models_store.datasets.sources import is_builtin
from models_store.files import sha256_of
from models_store.store.folders import dataset_file


class FileTarget(Protocol):
    """The part of the store that is needed to take a data set in."""

    def put_file(self, local: Path, key: str) -> None: ...


@dataclass(frozen=True)
class RegisteredDataset:
    """What to record of a data set in the store; `counts` gives the images per split and class name.

    `shared_lesions` holds the fields of `SharedLesions` and `lesion_counts` the malignant and benign lesions per split;
    both are None without a lesions CSV. `made_from` names the data set a split was made from, and how.
    """

    name: str
    sha256: str
    store_key: str
    lesions_store_key: str | None
    image_size: int
    counts: dict[str, dict[str, int]]
    synthetic: bool
    shared_lesions: dict[str, int] | None = None
    patients_store_key: str | None = None
    made_from: dict[str, Any] | None = None
    lesion_counts: dict[str, dict[str, int]] | None = None


def register(
    path: Path, name: str, *, storage: FileTarget, made_from: dict[str, Any] | None = None
) -> RegisteredDataset:
    """Verify the file, upload it with the lesions and patients CSV beside it, and return what the caller records.

    Raises `DatasetNameRefused` and `DatasetInvalid` before anything is uploaded.
    """
    require_free_name(name)
    layout = verify_layout(path)
    _require_both_classes(path, layout)
    read_patients(path, layout.sizes)
    check_every_byte(path)
    sha256 = sha256_of(path)
    store_key = dataset_file(f"{sha256}.npz")
    lesions_store_key = _put_beside(lesions_path(path), dataset_file(f"{sha256}_lesions.csv"), storage)
    patients_store_key = _put_beside(patients_path(path), dataset_file(f"{sha256}_patients.csv"), storage)
    storage.put_file(path, store_key)
    counts = {split: class_counts(labels) for split, labels in layout.labels.items()}
    return RegisteredDataset(
        name,
        sha256,
        store_key,
        lesions_store_key,
        layout.image_size,
        counts,
        layout.synthetic,
        None if layout.lesion_ids is None else asdict(count_shared_lesions(layout.lesion_ids)),
        patients_store_key,
        made_from,
        _lesion_counts(layout),
    )


def _require_both_classes(path: Path, layout: Layout) -> None:
    """An experiment needs malignant and benign images in every split."""
    try:
        for split, labels in layout.labels.items():
            evidence.require_both_classes(evidence.class_counts(labels), f"split {split}")
    except evidence.ClassMissing as missing:
        raise DatasetInvalid(path, missing.finding, missing.remedy) from missing


def _lesion_counts(layout: Layout) -> dict[str, dict[str, int]] | None:
    if layout.lesion_ids is None:
        return None
    return {
        split: asdict(evidence.class_counts(labels, layout.lesion_ids[split]))
        for split, labels in layout.labels.items()
    }


def _put_beside(local: Path, key: str, storage: FileTarget) -> str | None:
    if not local.exists():
        return None
    storage.put_file(local, key)
    return key


def require_free_name(name: str) -> None:
    """Raises `DatasetNameRefused` for the name of a built-in data set, and for an invalid name."""
    if is_builtin(name):
        raise DatasetNameRefused(f"'{name}' is the name of a built-in data set", "Choose another name")
    try:
        TypeAdapter(DatasetName).validate_python(name)
    except ValidationError as error:
        raise DatasetNameRefused(f"'{name}' is not a data set name", error.errors()[0]["msg"]) from error
