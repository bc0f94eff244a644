"""The lesions CSV beside a data set: which images show the same lesion."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.errors import DatasetInvalid
from models_store.datasets.labels import SPLITS

COLUMNS = ("split", "index", "image_id", "lesion_id")


@dataclass(frozen=True)
class LesionRow:
    """One image: where it is in the arrays, its own id and that of the lesion it shows."""

    split: str
    index: int
    image_id: str
    lesion_id: str


def lesions_path(path: Path) -> Path:
    """Return where the lesions CSV of the npz file `path` lies, whether or not it exists."""
    return path.with_name(f"{path.stem}_lesions.csv")


def read_lesions(path: Path, sizes: dict[str, int]) -> dict[str, NDArray[np.str_]] | None:
    """Return the lesion ids, shape (N,), of every split, in the order of its images; None where no CSV exists.

    `sizes` gives the images of each split. Raises `DatasetInvalid` unless each image is named exactly once.
    """
    csv_path = lesions_path(path)
    if not csv_path.exists():
        return None
    rows = _read_rows(csv_path)
    return {split: _in_order(csv_path, split, rows, sizes[split]) for split in SPLITS}


@dataclass(frozen=True)
class SharedLesions:
    """Lesions with images in more than one split, and the images of val and test whose lesion is also in train."""

    lesions: int
    val_images: int
    test_images: int


def count_shared_lesions(lesion_ids: dict[str, NDArray[np.str_]]) -> SharedLesions:
    """Count from the lesion ids of every split, as `read_lesions` returns them."""
    distinct = np.concatenate([np.unique(lesion_ids[split]) for split in SPLITS])
    _, splits_of = np.unique(distinct, return_counts=True)
    of_train = {split: int(np.isin(lesion_ids[split], lesion_ids["train"]).sum()) for split in ("val", "test")}
    return SharedLesions(int((splits_of > 1).sum()), of_train["val"], of_train["test"])


def write_lesions(path: Path, rows: list[LesionRow]) -> None:
    """Write `rows` as the lesions CSV at exactly `path`."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((row.split, row.index, row.image_id, row.lesion_id) for row in rows)


def _read_rows(csv_path: Path) -> list[LesionRow]:
    try:
        with csv_path.open(newline="", encoding="utf-8") as stream:
            header, *lines = csv.reader(stream)
        if tuple(header) != COLUMNS:
            raise ValueError(f"its columns are {', '.join(header)}")
        rows = [
            LesionRow(split, int(index), image_id, lesion_id)
            for split, index, image_id, lesion_id in filter(None, lines)
        ]
        unknown = {row.split for row in rows} - set(SPLITS)
        if unknown:
            raise ValueError(f"unknown split {', '.join(sorted(unknown))}")
    except (ValueError, OSError, csv.Error) as error:
        raise DatasetInvalid(
            csv_path, f"not a lesions table ({error})", f"It needs the columns {', '.join(COLUMNS)}, or remove it"
        ) from error
    return rows


def _in_order(csv_path: Path, split: str, rows: list[LesionRow], size: int) -> NDArray[np.str_]:
    lesion_of = {row.index: row.lesion_id for row in rows if row.split == split and row.lesion_id}
    named = sum(row.split == split for row in rows)
    if named != size or sorted(lesion_of) != list(range(size)):
        raise DatasetInvalid(
            csv_path,
            f"{named} rows name {len(lesion_of)} distinct {split} images, but the data set holds {size}",
            "Name each image once, with its lesion, by its index from 0, or remove the file",
        )
    return np.array([lesion_of[index] for index in range(size)], dtype=np.str_)
