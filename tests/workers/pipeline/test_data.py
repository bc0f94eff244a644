"""The parts for training, selection and calibration."""

from pathlib import Path

import numpy as np
import pytest

from models_store.contract.specs import CalibrationSpec
from models_store.datasets.evidence import (
    ClassCounts,
    ClassMissing,
    HoldOutImpossible,
    TooFewMalignantImages,
    class_counts,
    held_out_counts,
)
from models_store.datasets.layout import Split
from tests.workers.pipeline.small_experiment import MELANOMA, NEVUS, small_split
from workers.pipeline.data import experiment_data, hold_out, require_calibration, scaled


def split_of(labels: list[int], lesion_ids: list[str] | None = None) -> Split:
    """Image number i is filled with the value i, so that an image can be recognised anywhere."""
    pixels = np.arange(len(labels), dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), dtype=np.uint8)
    return Split(pixels, np.array(labels), None if lesion_ids is None else np.array(lesion_ids))


def numbers(split: Split) -> list[int]:
    return [int(image[0, 0, 0]) for image in split.images]


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A MedMNIST file of 90, 60 and 30 images whose test images are noise, which nothing here reads."""
    path = tmp_path / "small.npz"
    arrays = {}
    for number, (name, images) in enumerate((("train", 90), ("val", 60), ("test", 30))):
        split = small_split(images, seed=number)
        arrays[f"{name}_images"] = split.images
        arrays[f"{name}_labels"] = split.labels.astype(np.uint8)[:, None]
    np.savez(path, **arrays)
    return path


def test_every_image_is_on_one_side_with_its_label() -> None:
    split = split_of([MELANOMA] * 20 + [NEVUS] * 80)

    rest, held = hold_out(split, 0.25, seed=0)

    assert sorted(numbers(rest) + numbers(held)) == list(range(100))
    assert [label == MELANOMA for label in held.labels] == [number < 20 for number in numbers(held)]
    assert (held.malignant.sum(), len(held.labels)) == (5, 25)


def test_no_lesion_is_on_both_sides() -> None:
    # Given lesions photographed once, twice and three times
    lesions = [f"L{number % 40}" if number < 80 else f"M{number % 10}" for number in range(110)]
    labels = [MELANOMA if int(lesion[1:]) % 4 == 0 else NEVUS for lesion in lesions]

    rest, held = hold_out(split_of(labels, lesions), 0.5, seed=0)

    assert rest.lesion_ids is not None
    assert held.lesion_ids is not None
    assert not set(rest.lesion_ids) & set(held.lesion_ids)
    assert len(rest.labels) + len(held.labels) == 110
    assert held.malignant.mean() == pytest.approx(rest.malignant.mean(), abs=0.05)


def test_the_same_seed_holds_out_the_same_images_and_another_seed_others() -> None:
    split = split_of([MELANOMA] * 20 + [NEVUS] * 80)

    first, again, other = (numbers(hold_out(split, 0.5, seed)[1]) for seed in (1, 1, 2))

    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("labels", "share"),
    [
        ([MELANOMA] + [NEVUS] * 20, 0.5),
        ([NEVUS] * 20, 0.5),
        ([MELANOMA] * 4 + [NEVUS] * 16, 0.05),
        ([MELANOMA] * 4 + [NEVUS] * 16, 0.99),
    ],
)
def test_a_side_without_malignant_or_benign_images_is_an_error(labels: list[int], share: float) -> None:
    with pytest.raises(HoldOutImpossible, match="Use another share, more images"):
        hold_out(split_of(labels), share, seed=0)


def test_validation_is_divided_and_train_is_not(dataset: Path) -> None:
    data = experiment_data(dataset, CalibrationSpec(source="validation", share=0.4), seed=0)

    assert (len(data.train.labels), len(data.selection.labels), len(data.calibration.labels)) == (90, 36, 24)
    assert data.image_size == 8
    assert not data.guarantee_void
    assert data.selection_images_of_train_lesions is None


def test_selection_held_out_of_train_leaves_all_of_validation_for_calibration(dataset: Path) -> None:
    data = experiment_data(dataset, CalibrationSpec(source="train", share=0.2), seed=0)

    assert (len(data.train.labels), len(data.selection.labels), len(data.calibration.labels)) == (72, 18, 60)
    assert not data.guarantee_void


def test_reuse_selects_and_calibrates_on_all_of_validation_and_voids_the_guarantee(dataset: Path) -> None:
    data = experiment_data(dataset, CalibrationSpec(reuse=True), seed=0)

    assert (len(data.train.labels), len(data.selection.labels), len(data.calibration.labels)) == (90, 60, 60)
    assert data.guarantee_void


def test_a_split_of_one_kind_is_an_error_also_where_nothing_is_held_out(dataset: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(dataset))
    arrays["val_labels"] = np.full_like(arrays["val_labels"], NEVUS)
    np.savez(tmp_path / "benign.npz", **arrays)

    with pytest.raises(ClassMissing, match="the selection part has 0 malignant of 60 images"):
        experiment_data(tmp_path / "benign.npz", CalibrationSpec(reuse=True), seed=0)


@pytest.mark.parametrize(("malignant", "benign"), [(3, 18), (8, 33), (28, 61), (98, 409)])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.6])
def test_held_out_counts_equal_those_of_the_draw(malignant: int, benign: int, share: float) -> None:
    split = split_of([MELANOMA] * malignant + [NEVUS] * benign)
    try:
        counted = held_out_counts(ClassCounts(malignant, benign), share)
    except HoldOutImpossible:
        with pytest.raises(HoldOutImpossible):
            hold_out(split, share, seed=3)
        return

    assert class_counts(hold_out(split, share, seed=3)[1].labels) == counted


def test_too_few_malignant_lesions_for_the_guarantee_are_refused_before_training(dataset: Path) -> None:
    data = experiment_data(dataset, CalibrationSpec(), seed=0)
    found = int(data.calibration.malignant.sum())

    with pytest.raises(TooFewMalignantImages, match=f"needs at least 59 malignant images .* there are {found}"):
        require_calibration(data, CalibrationSpec(target_recall=0.95))
    require_calibration(data, CalibrationSpec(target_recall=0.95, fallback="youden"))


def test_real_lesions_are_kept_apart_and_the_leakage_from_train_is_counted(real_data: Path) -> None:
    data = experiment_data(real_data, CalibrationSpec(source="validation"), seed=42)

    assert data.selection.lesion_ids is not None
    assert data.calibration.lesion_ids is not None
    assert not set(data.selection.lesion_ids) & set(data.calibration.lesion_ids)
    assert data.calibration.malignant.sum() == pytest.approx(98, abs=5)
    leaked = (data.selection_images_of_train_lesions or 0) + (data.calibration_images_of_train_lesions or 0)
    everything = experiment_data(real_data, CalibrationSpec(reuse=True), seed=42)
    assert leaked == everything.selection_images_of_train_lesions
    assert leaked > 0


def test_a_part_held_out_of_train_shares_no_real_lesion_with_it(real_data: Path) -> None:
    data = experiment_data(real_data, CalibrationSpec(source="train", share=0.1), seed=42)

    assert data.selection_images_of_train_lesions == 0
    assert data.calibration_images_of_train_lesions is not None
    assert data.calibration_images_of_train_lesions > 0
    assert len(data.selection.labels) == pytest.approx(701, abs=40)


def test_pixels_are_scaled_to_one() -> None:
    pixels = scaled(np.array([0, 51, 255], dtype=np.uint8))

    assert pixels.dtype == np.float32
    np.testing.assert_allclose(pixels, [0, 0.2, 1])
