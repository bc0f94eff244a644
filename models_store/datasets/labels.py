"""Seven diagnoses and the binary question, mapped by name, because published tables of ids differ."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models_store.datasets.official import dermamnist_info

SPLITS = ("train", "val", "test")

SHORT_NAMES = {
    "actinic keratoses and intraepithelial carcinoma": "akiec",
    "basal cell carcinoma": "bcc",
    "benign keratosis-like lesions": "bkl",
    "dermatofibroma": "df",
    "melanoma": "mel",
    "melanocytic nevi": "nv",
    "vascular lesions": "vasc",
}
MALIGNANT = frozenset({"mel", "bcc", "akiec"})


def class_names(published: dict[str, str]) -> tuple[str, ...]:
    """Return the short names indexed by class id, from MedMNIST's `{"0": "actinic keratoses …", …}`."""
    return tuple(SHORT_NAMES[published[str(class_id)]] for class_id in range(len(published)))


CLASS_NAMES: tuple[str, ...] = class_names(dermamnist_info()["label"])
MALIGNANT_IDS = tuple(class_id for class_id, name in enumerate(CLASS_NAMES) if name in MALIGNANT)

# (benign, malignant) of the official files. The ids {1, 3, 4} of other tables would give 5789:1218 on train.
OFFICIAL_COUNTS = {"train": (5641, 1366), "val": (807, 196), "test": (1613, 392)}


def is_malignant(labels: ArrayLike) -> NDArray[np.int64]:
    """Return 1 for melanoma, basal cell carcinoma and actinic keratosis, 0 for the rest.

    `labels` holds class ids 0..6 in any shape, which the result keeps. Raises ValueError for any other id.
    """
    ids = np.asarray(labels)
    if ids.size and (ids.min() < 0 or ids.max() >= len(CLASS_NAMES)):
        raise ValueError(f"class ids must be 0..{len(CLASS_NAMES) - 1}, found {ids.min()}..{ids.max()}")
    return np.isin(ids, MALIGNANT_IDS).astype(np.int64)


def malignant_of(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """The probability of malignant (N,) from a network's output: (N, 2), or (N, 7) in the order of `CLASS_NAMES`.

    Raises ValueError for another width.
    """
    width = probabilities.shape[-1]
    if width == 2:
        return probabilities[..., 1]
    if width != len(CLASS_NAMES):
        raise ValueError(f"a network gives 2 or {len(CLASS_NAMES)} probabilities an image, and this one gives {width}")
    # Rounding may raise the sum of a confident prediction above 1.
    malignant: NDArray[np.float32] = np.minimum(probabilities[..., list(MALIGNANT_IDS)].sum(axis=-1), 1)
    return malignant


def binary_counts(labels: ArrayLike) -> tuple[int, int]:
    """Return the numbers of benign and malignant images among class ids of shape (N,)."""
    malignant = is_malignant(labels)
    return int(malignant.size - malignant.sum()), int(malignant.sum())


def assert_official_counts(labels: dict[str, NDArray[np.int64]]) -> None:
    """Raise AssertionError unless the labels of every split map to the known benign and malignant counts."""
    found = {split: binary_counts(labels[split]) for split in SPLITS}
    if found != OFFICIAL_COUNTS:
        raise AssertionError(f"the official labels map to {found} (benign, malignant), not to {OFFICIAL_COUNTS}")
