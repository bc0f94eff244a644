"""A split of whole lesions: no lesion that a model is tested on has a photograph it was trained on."""

import csv
import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.errors import DatasetInvalid
from models_store.datasets.labels import CLASS_NAMES, SPLITS
from models_store.datasets.layout import SYNTHETIC_MEMBER, Layout, verify_layout
from models_store.datasets.lesions import COLUMNS, lesions_path
from models_store.datasets.npz import created, members, opened, read_array, write_array
from models_store.datasets.patients import patients_path, read_patients

TEST_SHARE, VAL_SHARE = 1 / 5, 1 / 10
MAX_NAME_LENGTH = 64
MAX_SEED = 2**32 - 1

Integers = NDArray[np.int64]
# For each new split the images it takes, as (old split, index in it), in this order.
Taken = dict[str, list[tuple[str, int]]]


class LesionsUnknown(DatasetInvalid):
    """Without lesion ids it is unknown which images must stay together."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            "the data set has no lesion ids, so its images cannot be split by lesion",
            f"Put {lesions_path(path).name} with the columns {', '.join(COLUMNS)} beside the npz file; if the data set "
            "is registered, register it again",
        )


def split_name(name: str, seed: int) -> str:
    """Return the name of the split that `seed` makes of the data set `name`; a long name is cut and gets a digest."""
    suffix = f"_new_lesions_{seed}"
    if len(name) + len(suffix) <= MAX_NAME_LENGTH:
        return name + suffix
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: MAX_NAME_LENGTH - len(suffix) - len(digest) - 1]}-{digest}{suffix}"


@dataclass(frozen=True)
class _Pool:
    """The images of all splits in one row: where each was (N of them), its class id and its lesion."""

    places: list[tuple[str, int]]
    labels: Integers
    lesion_ids: NDArray[np.str_]


def split_by_lesion(path: Path, target: Path, *, seed: int) -> None:
    """Write the images of `path` to `target`, a fifth of each class for test and a tenth for validation.

    A lesion lies on one side with all of its images, of whatever label. The same seed gives the same file. The lesions
    CSV is written beside `target`, and the patients CSV if there is one. Raises `LesionsUnknown` and `DatasetInvalid`.
    """
    layout = verify_layout(path)
    read_patients(path, layout.sizes)  # a damaged table is refused before anything is written
    pool = _pool(path, layout)
    sides = assign_sides(pool.labels, pool.lesion_ids, seed)
    taken = {split: [pool.places[row] for row in np.flatnonzero(sides == split)] for split in SPLITS}
    _require_images(path, taken)
    target.parent.mkdir(parents=True, exist_ok=True)
    _write_arrays(path, target, taken)
    for beside in (lesions_path, patients_path):
        if beside(path).exists():
            _move_rows(beside(path), beside(target), taken)


def assign_sides(labels: Integers, lesion_ids: NDArray[np.str_], seed: int) -> NDArray[np.str_]:
    """Return `train`, `val` or `test` for each of N images.

    Whole lesions are drawn, each within the class of most of its images. The order of the images does not matter.
    """
    rng = np.random.default_rng(seed)
    lesions, lesion_of = np.unique(lesion_ids, return_inverse=True)
    images = np.zeros((len(lesions), len(CLASS_NAMES)), np.int64)
    np.add.at(images, (lesion_of, labels), 1)
    sides = np.full(len(lesions), "train", dtype="<U5")
    for class_id in range(len(CLASS_NAMES)):
        drawn = rng.permutation(np.flatnonzero(images.argmax(axis=1) == class_id))
        sides[drawn] = _sides_of_drawn(images[drawn].sum(axis=1))
    return sides[lesion_of]


def _sides_of_drawn(sizes: Integers) -> NDArray[np.str_]:
    """Cut lesions of these many images, laid end to end, at the two shares; the middle of a lesion decides its side.

    So a side differs from its share by half a lesion at most, and large lesions favour no side.
    """
    middles = np.cumsum(sizes) - sizes / 2
    cuts = np.array([TEST_SHARE, TEST_SHARE + VAL_SHARE]) * sizes.sum()
    return np.array(["test", "val", "train"])[np.searchsorted(cuts, middles, side="right")]


def _pool(path: Path, layout: Layout) -> _Pool:
    if layout.lesion_ids is None:
        raise LesionsUnknown(path)
    return _Pool(
        [(split, index) for split in SPLITS for index in range(len(layout.labels[split]))],
        np.concatenate([layout.labels[split] for split in SPLITS]),
        np.concatenate([layout.lesion_ids[split] for split in SPLITS]),
    )


def _require_images(path: Path, taken: Taken) -> None:
    empty = [split for split in SPLITS if not taken[split]]
    if empty:
        raise DatasetInvalid(
            path,
            f"there are too few lesions: no image would be left for {' and '.join(empty)}",
            "Add images of more lesions; each class gives a fifth of them to test and a tenth to validation",
        )


def _write_arrays(path: Path, target: Path, taken: Taken) -> None:
    """One array at a time: at 224 pixels all of them at once would take gigabytes."""
    with opened(path) as source, created(target) as archive:
        for split in SPLITS:
            for kind in ("images", "labels"):
                write_array(archive, f"{split}_{kind}", _gathered(path, source, kind, taken[split]))
        if SYNTHETIC_MEMBER in members(source):
            write_array(archive, SYNTHETIC_MEMBER, read_array(path, source, SYNTHETIC_MEMBER))


def _gathered(path: Path, source: zipfile.ZipFile, kind: str, places: list[tuple[str, int]]) -> NDArray[Any]:
    gathered: NDArray[Any] | None = None
    for split in SPLITS:
        rows = [row for row, (of_split, _) in enumerate(places) if of_split == split]
        array = read_array(path, source, f"{split}_{kind}")
        if gathered is None:
            gathered = np.empty((len(places), *array.shape[1:]), array.dtype)
        gathered[rows] = array[[places[row][1] for row in rows]]
    assert gathered is not None
    return gathered


def _move_rows(source: Path, target: Path, taken: Taken) -> None:
    """Write the rows of a table by image again, each with its image's new split and index."""
    with source.open(newline="", encoding="utf-8") as stream:
        header, *lines = filter(None, csv.reader(stream))
    rest_of = {(split, int(index)): rest for split, index, *rest in lines}
    with target.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        for split in SPLITS:
            writer.writerows((split, index, *rest_of[place]) for index, place in enumerate(taken[split]))
