"""A generated data set in MedMNIST layout: seven lesion-like classes in the official proportions."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.drawing import Lesions, draw_appearances, draw_photographs
from models_store.datasets.evidence import Evidence, class_counts
from models_store.datasets.labels import CLASS_NAMES, SPLITS
from models_store.datasets.layout import SYNTHETIC_MEMBER
from models_store.datasets.lesions import LesionRow, lesions_path, write_lesions

# Raised whenever the drawing changes, so that no stale copy is taken for the new one.
GENERATOR_VERSION = "v1"

Counts = tuple[int, int, int]
BySplit = dict[str, NDArray[np.int64]]
OFFICIAL_SIZES: Counts = (7007, 1003, 2005)
# A third at 224 pixels, where the official number of images would take 1.5 GB of memory.
REDUCED_SIZES: Counts = (2335, 334, 668)
SYNTHETIC_SETS: dict[str, tuple[int, Counts]] = {
    "synthetic": (28, OFFICIAL_SIZES),
    "synthetic_64": (64, OFFICIAL_SIZES),
    "synthetic_128": (128, OFFICIAL_SIZES),
    "synthetic_224": (224, REDUCED_SIZES),
}

# Images per class (akiec, bcc, bkl, df, mel, nv, vasc) of the official splits.
OFFICIAL_CLASSES = {
    "train": {"akiec": 228, "bcc": 359, "bkl": 769, "df": 80, "mel": 779, "nv": 4693, "vasc": 99},
    "val": {"akiec": 33, "bcc": 52, "bkl": 110, "df": 12, "mel": 111, "nv": 671, "vasc": 14},
    "test": {"akiec": 66, "bcc": 103, "bkl": 220, "df": 23, "mel": 223, "nv": 1341, "vasc": 29},
}
REPEATED_SHARE = 0.1
PIXELS_AT_ONCE = 200_000


def generate(path: Path, *, image_size: int = 28, counts: Counts = OFFICIAL_SIZES, seed: int = 0) -> None:
    """Write the npz file and, beside it, its lesions CSV; the same arguments give the same arrays.

    `counts` are the images of train, val and test; each split keeps the official proportions of the seven classes.
    About a tenth of the images shows a lesion again that another image, of any split, shows too.
    """
    rng = np.random.default_rng(seed)
    labels, lesion_of, lesion_labels = _drawn(counts, rng)
    lesions = draw_appearances(lesion_labels, rng)

    arrays: dict[str, NDArray[Any]] = {SYNTHETIC_MEMBER: np.array(f"generator {GENERATOR_VERSION}, seed {seed}")}
    rows: list[LesionRow] = []
    for split, lesion_ids in lesion_of.items():
        arrays[f"{split}_images"] = np.concatenate(list(_photographs(lesions, lesion_ids, image_size, rng)))
        arrays[f"{split}_labels"] = labels[split][:, None].astype(np.uint8)
        rows += [_row(split, index, lesion_id) for index, lesion_id in enumerate(lesion_ids)]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    write_lesions(lesions_path(path), rows)


@cache
def evidence_of_synthetic(name: str) -> Evidence:
    """What the splits of a set of `SYNTHETIC_SETS` hold; no image is drawn for it."""
    labels, lesion_of, _ = _drawn(SYNTHETIC_SETS[name][1], np.random.default_rng(0))
    images = {split: class_counts(labels[split]) for split in SPLITS}
    return Evidence(images, {split: class_counts(labels[split], lesion_of[split]) for split in SPLITS}, "lesions")


def _drawn(counts: Counts, rng: np.random.Generator) -> tuple[BySplit, BySplit, NDArray[np.int64]]:
    """Return class id and lesion of each image, by split, and the label of each lesion."""
    labels = {split: _labels(split, size, rng) for split, size in zip(SPLITS, counts, strict=True)}
    lesion_of, lesion_labels = _shared_lesions(np.concatenate(list(labels.values())), rng)
    parts = np.split(lesion_of, np.cumsum(counts)[:-1])
    return labels, dict(zip(SPLITS, parts, strict=True)), lesion_labels


def _labels(split: str, size: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return `size` shuffled class ids in the official proportions of the split (largest remainders)."""
    official = np.array([OFFICIAL_CLASSES[split][name] for name in CLASS_NAMES])
    exact = official / official.sum() * size
    per_class = np.floor(exact).astype(np.int64)
    largest_remainders = np.argsort(per_class - exact, kind="stable")[: size - per_class.sum()]
    per_class[largest_remainders] += 1
    return rng.permutation(np.repeat(np.arange(len(CLASS_NAMES)), per_class))


def _shared_lesions(labels: NDArray[np.int64], rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lesion of each image and the label of each lesion; images share lesions of their own class only."""
    lesion_of = np.arange(len(labels))
    for class_id in np.unique(labels):
        images = rng.permutation(np.flatnonzero(labels == class_id))
        repeated = int(REPEATED_SHARE * len(images))
        first, again = images[repeated:], images[:repeated]
        lesion_of[again] = rng.choice(first, repeated)
    shown, lesion_of = np.unique(lesion_of, return_inverse=True)
    return lesion_of, labels[shown]


def _photographs(
    lesions: Lesions, lesion_ids: NDArray[np.int64], image_size: int, rng: np.random.Generator
) -> Iterator[NDArray[np.uint8]]:
    batch = max(1, PIXELS_AT_ONCE // image_size**2)
    for start in range(0, len(lesion_ids), batch):
        yield draw_photographs(lesions[lesion_ids[start : start + batch]], image_size, rng)


def _row(split: str, index: int, lesion_id: int) -> LesionRow:
    return LesionRow(split, index, f"SYN_{split}_{index:05d}", f"SYN_{lesion_id:05d}")
