"""The MedMNIST file layout: six arrays, read one split at a time and verified without looking at pixels."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.errors import DatasetInvalid
from models_store.datasets.labels import CLASS_NAMES, SPLITS, is_malignant
from models_store.datasets.lesions import read_lesions
from models_store.datasets.npz import Header, members, opened, read_array, read_header
from models_store.files import sha256_of

__all__ = ["SYNTHETIC_MEMBER", "DatasetInvalid", "Layout", "Split", "read_split", "sha256_of", "verify_layout"]

# A seventh array inside the file, so that a renamed or registered file is still marked as synthetic.
SYNTHETIC_MEMBER = "synthetic"
# No network takes smaller ones; without a bound a small file could claim labels that fill the memory.
MIN_SIZE = 8


@dataclass(frozen=True)
class Split:
    """One split: images uint8 (N, H, W, 3), labels int64 (N,) of class ids, lesion ids str (N,) where known."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    lesion_ids: NDArray[np.str_] | None

    @property
    def malignant(self) -> NDArray[np.int64]:
        """1 for malignant, 0 for benign; int64 (N,)."""
        return is_malignant(self.labels)


@dataclass(frozen=True)
class Layout:
    """What is known of a verified file without its pixels; the dictionaries are keyed by split."""

    image_size: int
    labels: dict[str, NDArray[np.int64]]
    lesion_ids: dict[str, NDArray[np.str_]] | None
    synthetic: bool

    @property
    def sizes(self) -> dict[str, int]:
        """The number of images of each split."""
        return {split: len(labels) for split, labels in self.labels.items()}


def read_split(path: Path, name: str) -> Split:
    """Read `train`, `val` or `test`; the pixels of the other splits are not touched.

    Raises `DatasetInvalid` if the file is damaged or not in MedMNIST layout.
    """
    layout = verify_layout(path)
    with opened(path) as archive:
        images = read_array(path, archive, f"{name}_images")
    return Split(images, layout.labels[name], layout.lesion_ids[name] if layout.lesion_ids else None)


def verify_layout(path: Path) -> Layout:
    """Check the whole layout: of the labels every value, of the images only shape and dtype.

    Raises `DatasetInvalid`, which names the file, the finding and the remedy.
    """
    with opened(path) as archive:
        present = members(archive)
        _require_members(path, present)
        headers = {split: _image_header(path, archive, split) for split in SPLITS}
        labels = {split: _labels(path, archive, split, headers[split].shape[0]) for split in SPLITS}
    sizes = {headers[split].shape[1] for split in SPLITS}
    if len(sizes) > 1:
        raise DatasetInvalid(path, f"the splits have different image sizes {sorted(sizes)}", "Resize them to one size")
    lesion_ids = read_lesions(path, {split: headers[split].shape[0] for split in SPLITS})
    return Layout(sizes.pop(), labels, lesion_ids, SYNTHETIC_MEMBER in present)


def _require_members(path: Path, present: frozenset[str]) -> None:
    required = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
    missing = [member for member in required if member not in present]
    if missing:
        raise DatasetInvalid(
            path, f"missing {', '.join(missing)}", f"A MedMNIST file holds the arrays {', '.join(required)}"
        )


def _image_header(path: Path, archive: zipfile.ZipFile, split: str) -> Header:
    header = read_header(path, archive, f"{split}_images")
    if header.dtype != np.uint8:
        raise DatasetInvalid(
            path, f"{split}_images are {header.dtype}, not uint8", "Save pixels as uint8 from 0 to 255, not scaled"
        )
    shape = header.shape
    if len(shape) != 4 or shape[1] != shape[2] or shape[3] != 3 or shape[0] == 0 or shape[1] < MIN_SIZE:
        raise DatasetInvalid(
            path,
            f"{split}_images have shape {shape}",
            f"They need the shape (N, size, size, 3): square RGB, N of them, at least {MIN_SIZE} pixels wide",
        )
    return header


def _labels(path: Path, archive: zipfile.ZipFile, split: str, images: int) -> NDArray[np.int64]:
    header = read_header(path, archive, f"{split}_labels")
    if header.dtype.kind not in "iu":
        raise DatasetInvalid(path, f"{split}_labels are {header.dtype}, not integers", "Save class ids as uint8")
    if header.shape != (images, 1):
        raise DatasetInvalid(
            path, f"{split}_labels have shape {header.shape} for {images} images", f"They need the shape ({images}, 1)"
        )
    labels: NDArray[Any] = read_array(path, archive, f"{split}_labels")
    unknown = sorted({int(label) for label in np.unique(labels)} - set(range(len(CLASS_NAMES))))
    if unknown:
        known = ", ".join(f"{class_id} {name}" for class_id, name in enumerate(CLASS_NAMES))
        raise DatasetInvalid(path, f"{split}_labels hold the unknown class id {unknown}", f"Use {known}")
    return labels[:, 0].astype(np.int64)
