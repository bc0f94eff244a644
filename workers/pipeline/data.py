"""The experiment's data: the parts for training, selection and calibration, and the sealed test set."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from models_store.contract.records import DataSizes, PartSize, TestSetAlreadyOpened
from models_store.contract.specs import CalibrationSpec
from models_store.datasets.evidence import (
    Unit,
    class_counts,
    held_out_counts,
    hold_out_impossible,
    require_both_classes,
    require_enough,
)
from models_store.datasets.layout import Split, read_split

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ExperimentData:
    """Three parts of train and validation.

    `guarantee_void`: calibration uses the images that selected the epoch. The last two fields count images
    whose lesion is also in `train`; they are None where lesion ids are unknown.
    """

    train: Split
    selection: Split
    calibration: Split
    image_size: int
    guarantee_void: bool
    selection_images_of_train_lesions: int | None
    calibration_images_of_train_lesions: int | None


def experiment_data(path: Path, calibration: CalibrationSpec, seed: int) -> ExperimentData:
    """Read the `train` and `val` splits of a MedMNIST file and divide them as `calibration` says.

    The parts are stratified by malignancy, no lesion is on both sides, and the same seed gives the same parts. Raises
    `HoldOutImpossible` or `ClassMissing`, and `DatasetInvalid` for a file that cannot be read.
    """
    train, validation = read_split(path, "train"), read_split(path, "val")
    if calibration.reuse:
        selection = calibrating = validation
    elif calibration.source == "validation":
        selection, calibrating = hold_out(validation, calibration.share, seed)
    else:
        train, selection = hold_out(train, calibration.share, seed)
        calibrating = validation
    for part, name in ((train, "train"), (selection, "selection"), (calibrating, "calibration")):
        require_both_classes(class_counts(part.labels), f"{name} part")
    return ExperimentData(
        train,
        selection,
        calibrating,
        image_size=train.images.shape[1],
        guarantee_void=calibration.reuse,
        selection_images_of_train_lesions=_images_of_lesions_in(train, selection),
        calibration_images_of_train_lesions=_images_of_lesions_in(train, calibrating),
    )


def require_calibration(data: ExperimentData, calibration: CalibrationSpec) -> None:
    """Raises `TooFewMalignantImages` before training if no threshold could be chosen after it."""
    part = data.calibration
    unit: Unit = "images" if part.lesion_ids is None else "lesions"
    require_enough(class_counts(part.labels, part.lesion_ids).malignant, calibration, unit)


def hold_out(split: Split, share: float, seed: int) -> tuple[Split, Split]:
    """Divide a split into the rest and the images that `held_out` marks. Raises `HoldOutImpossible`."""
    taken = held_out(split, share, seed)
    return _take(split, ~taken), _take(split, taken)


def held_out(split: Split, share: float, seed: int) -> NDArray[np.bool_]:
    """Mark the images (N,) of `share` of the lesions (of the images, where lesion ids are unknown).

    Lesions are drawn stratified; one counts as malignant if any of its images is. Raises `HoldOutImpossible`.
    """
    lesion_of_image = _lesions(split)
    malignant = np.zeros(lesion_of_image.max() + 1, dtype=bool)
    malignant[lesion_of_image[split.malignant.astype(bool)]] = True
    units = class_counts(split.labels, split.lesion_ids)
    held_out_counts(units, share)
    _, held = train_test_split(np.arange(len(malignant)), test_size=share, stratify=malignant, random_state=seed)
    taken: NDArray[np.bool_] = np.isin(lesion_of_image, held)
    if any(len(np.unique(malignant[lesion_of_image[side]])) < 2 for side in (taken, ~taken)):
        raise hold_out_impossible(share, units)
    return taken


def scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Pixels 0-255 as float32 in [0, 1], the input of every model."""
    return images.astype(np.float32) / np.float32(255)


def _lesions(split: Split) -> NDArray[np.int64]:
    """Number (N,) of the lesion each image shows; without lesion ids each image counts as its own."""
    if split.lesion_ids is None:
        return np.arange(len(split.labels))
    numbers: NDArray[np.int64] = np.unique(split.lesion_ids, return_inverse=True)[1]
    return numbers


def _take(split: Split, kept: NDArray[np.bool_]) -> Split:
    lesion_ids = None if split.lesion_ids is None else split.lesion_ids[kept]
    return replace(split, images=split.images[kept], labels=split.labels[kept], lesion_ids=lesion_ids)


def _images_of_lesions_in(train: Split, part: Split) -> int | None:
    if train.lesion_ids is None or part.lesion_ids is None:
        return None
    return int(np.isin(part.lesion_ids, train.lesion_ids).sum())


def sizes(data: ExperimentData) -> DataSizes:
    """The images and lesions in each part of the data, for the record."""
    return DataSizes(
        train=_size(data.train),
        selection=_size(data.selection),
        calibration=_size(data.calibration),
        selection_images_of_train_lesions=data.selection_images_of_train_lesions,
        calibration_images_of_train_lesions=data.calibration_images_of_train_lesions,
    )


def _size(split: Split) -> PartSize:
    lesions = None if split.lesion_ids is None else len(np.unique(split.lesion_ids))
    return PartSize(images=len(split.labels), malignant=int(split.malignant.sum()), lesions=lesions)


@dataclass(frozen=True)
class Opening:
    """What must be frozen before the test set may be read."""

    experiment_id: str
    bundle_sha256: str
    threshold: float


class NothingFrozen(ValueError):
    """An opening that names no frozen bundle or no threshold."""


class SealedTestSet:
    """The only way to the test images, once in a process.

    The database keeps one opening an experiment and refuses a second. It is written in the same transaction as the
    result, so that either both exist or neither does. A crash before that transaction leaves no record, and the run
    may be repeated: bundle and threshold are frozen, so it gives the same result, and no choice can depend on what
    the first opening showed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: Opening | None = None

    def open(self, opening: Opening) -> Split:
        """Read the test split for a frozen bundle.

        Raises `NothingFrozen` for an opening without experiment, sha256 or threshold, and `TestSetAlreadyOpened` if
        this seal was broken before.
        """
        _refuse_unfrozen(opening)
        if self.opened is not None:
            raise TestSetAlreadyOpened(self.opened.experiment_id, self.opened.bundle_sha256, "earlier in this process")
        split = read_split(self.path, "test")
        self.opened = opening
        return split


def _refuse_unfrozen(opening: Opening) -> None:
    if not opening.experiment_id:
        raise NothingFrozen("an opening names its experiment, and this one names none")
    if not SHA256.fullmatch(opening.bundle_sha256):
        raise NothingFrozen(f"{opening.bundle_sha256!r} is no sha256; freeze the bundle and pass its hash")
    if not 0 <= opening.threshold <= 1:
        raise NothingFrozen(f"the threshold {opening.threshold} is not in [0, 1]; calibrate before opening")
