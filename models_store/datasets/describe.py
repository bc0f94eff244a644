"""What a data set holds: counts, duplicates and leakage between its splits."""

import hashlib
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from models_store.datasets.labels import CLASS_NAMES, MALIGNANT, SPLITS
from models_store.datasets.layout import Layout, verify_layout
from models_store.datasets.lesions import SharedLesions, count_shared_lesions
from models_store.datasets.npz import opened, read_array
from models_store.datasets.official import OFFICIAL_NAMES, dermamnist_info, official_file
from models_store.datasets.patients import UNKNOWN_GROUP, PatientColumn, read_patients
from models_store.files import digest_of, sha256_of


@dataclass(frozen=True)
class SplitCounts:
    """Images of one split, by class name and by binary label."""

    images: int
    benign: int
    malignant: int
    classes: dict[str, int]


@dataclass(frozen=True)
class DatasetDescription:
    """What `dermatriage dataset describe` prints.

    `duplicates["train-test"]` counts the test images whose pixels also occur in train, and likewise for the other
    pairs; `lesions_on_two_sides` counts the lesions with images in more than one split, and
    `lesions_shared_with_train["test"]` the test images whose lesion is also in train. Both are None where no lesions
    CSV lies beside the file. `patients["age"]["40 to 59"]["test"]` counts the test images of a group of patients.
    """

    file: str
    sha256: str
    image_size: int
    synthetic: bool
    licence: str
    splits: dict[str, SplitCounts]
    duplicates: dict[str, int]
    lesions_on_two_sides: int | None
    lesions_shared_with_train: dict[str, int] | None
    patients: dict[str, dict[str, dict[str, int]]] | None

    @property
    def shared_lesions(self) -> SharedLesions | None:
        """The lesions that the splits share; None where lesions are unknown."""
        images = self.lesions_shared_with_train
        if self.lesions_on_two_sides is None or images is None:
            return None
        return SharedLesions(self.lesions_on_two_sides, images["val"], images["test"])

    def to_json(self) -> dict[str, Any]:
        """Return plain dictionaries, ready for `json.dumps`."""
        return asdict(self)


def describe(path: Path) -> DatasetDescription:
    """Read and count a file in MedMNIST layout. Raises `DatasetInvalid`."""
    layout = verify_layout(path)
    shared = None if layout.lesion_ids is None else count_shared_lesions(layout.lesion_ids)
    return DatasetDescription(
        file=path.name,
        sha256=sha256_of(path),
        image_size=layout.image_size,
        synthetic=layout.synthetic,
        licence=_licence(path, layout),
        splits={split: split_counts(class_counts(labels)) for split, labels in layout.labels.items()},
        duplicates=_duplicates({split: _fingerprints(path, split) for split in SPLITS}),
        lesions_on_two_sides=None if shared is None else shared.lesions,
        lesions_shared_with_train=None if shared is None else {"val": shared.val_images, "test": shared.test_images},
        patients=_patient_groups(read_patients(path, layout.sizes)),
    )


def class_counts(labels: ArrayLike) -> dict[str, int]:
    """Return the number of images per class name, for class ids of shape (N,)."""
    counts = np.bincount(np.asarray(labels), minlength=len(CLASS_NAMES))
    return dict(zip(CLASS_NAMES, counts.tolist(), strict=True))


def split_counts(classes: dict[str, int]) -> SplitCounts:
    """Return the counts of a split from its images by class name."""
    images, malignant = sum(classes.values()), sum(classes[name] for name in MALIGNANT)
    return SplitCounts(images, images - malignant, malignant, classes)


def _patient_groups(columns: dict[str, PatientColumn] | None) -> dict[str, dict[str, dict[str, int]]] | None:
    if columns is None:
        return None
    return {
        name: {
            group: {split: int((column.named(split) == group).sum()) for split in column.of_images}
            for group in (*column.groups, UNKNOWN_GROUP)
        }
        for name, column in columns.items()
    }


def _fingerprints(path: Path, split: str) -> list[bytes]:
    with opened(path) as archive:
        images = read_array(path, archive, f"{split}_images")
    return [hashlib.sha256(image.tobytes()).digest() for image in images]


def _duplicates(fingerprints: dict[str, list[bytes]]) -> dict[str, int]:
    seen = {split: frozenset(prints) for split, prints in fingerprints.items()}
    return {
        f"{first}-{second}": sum(fingerprint in seen[first] for fingerprint in fingerprints[second])
        for first, second in combinations(SPLITS, 2)
    }


def _licence(path: Path, layout: Layout) -> str:
    if layout.synthetic:
        return "generated images, no patient's data"
    published = dermamnist_info()["license"]
    if digest_of(path, "md5") in {official_file(name).md5 for name in OFFICIAL_NAMES}:
        return f"{published} (DermaMNIST, from HAM10000)"
    return f"not stated in the file; images from HAM10000 are {published}"
