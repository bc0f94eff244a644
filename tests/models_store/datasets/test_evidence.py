"""How many malignant images or lesions an experiment needs, and the error where there are fewer."""

import re
from pathlib import Path

import numpy as np
import pytest

from models_store.contract.specs import CalibrationSpec
from models_store.datasets.evidence import (
    ClassCounts,
    ClassMissing,
    Evidence,
    HoldOutImpossible,
    TooFewMalignantImages,
    class_counts,
    needed_in_expectation,
    needed_with_confidence,
    require_enough,
    require_evidence,
)
from models_store.datasets.labels import CLASS_NAMES
from models_store.datasets.layout import verify_layout
from models_store.datasets.synthetic import OFFICIAL_SIZES, evidence_of_synthetic, generate

MEL, NV = CLASS_NAMES.index("mel"), CLASS_NAMES.index("nv")


def evidence(val: int, train: int = 100, test: int = 50) -> Evidence:
    """So many malignant images in each split, with 200 benign ones."""
    splits = {name: ClassCounts(found, 200) for name, found in (("train", train), ("val", val), ("test", test))}
    return Evidence(splits, splits, "images")


@pytest.mark.parametrize(
    ("target", "confidence", "needed"),
    [(0.90, 0.95, 29), (0.95, 0.95, 59), (0.99, 0.95, 299), (0.90, 0.5, 7), (0.5, 0.5, 1), (1e-13, 0.95, 1)],
)
def test_fewest_malignant_images_that_suffice(target: float, confidence: float, needed: int) -> None:
    assert needed_with_confidence(target, confidence) == needed


@pytest.mark.parametrize(("target", "needed"), [(0.90, 9), (0.95, 19), (0.5, 1)])
def test_conformal_risk_control_needs_fewer(target: float, needed: int) -> None:
    assert needed_in_expectation(target) == needed


def test_a_promise_next_to_certainty_needs_more_than_anyone_has() -> None:
    assert needed_with_confidence(1 - 1e-15, 1 - 1e-15) > 10**12
    assert needed_in_expectation(1 - 1e-15) > 10**11


def test_counts_lesions_where_they_are_known() -> None:
    labels, lesions = [MEL, MEL, NV, NV, NV], ["a", "a", "a", "b", "c"]
    assert class_counts(labels) == ClassCounts(2, 3)
    assert class_counts(labels, lesions) == ClassCounts(1, 2)


def test_enough_malignant_images_are_accepted() -> None:
    require_evidence(evidence(val=29), CalibrationSpec())


REMEDY = re.compile(r"calibration\.(target_recall|confidence) to (0\.\d+)")


@pytest.mark.parametrize(
    ("found", "policy", "needed", "fields"),
    [
        (28, "np_sensitivity", 29, {"target_recall", "confidence"}),
        (3, "np_sensitivity", 29, {"target_recall", "confidence"}),
        (8, "conformal_risk_control", 9, {"target_recall"}),
    ],
)
def test_too_few_are_refused_with_the_counts_and_a_remedy_that_works(
    found: int, policy: str, needed: int, fields: set[str]
) -> None:
    calibration = CalibrationSpec.model_validate({"policy": policy})
    with pytest.raises(TooFewMalignantImages) as refused:
        require_evidence(evidence(val=found), calibration)
    assert f"needs at least {needed} malignant images" in refused.value.finding
    assert f"there are {found}" in refused.value.finding
    named = {name: float(value) for name, value in REMEDY.findall(refused.value.remedy)}
    assert named.keys() == fields
    for name, value in named.items():
        require_evidence(evidence(val=found), calibration.model_copy(update={name: value}))
        with pytest.raises(TooFewMalignantImages):
            require_evidence(evidence(val=found), calibration.model_copy(update={name: value + 0.01}))


def test_an_impossible_remedy_is_not_named() -> None:
    with pytest.raises(TooFewMalignantImages) as refused:
        require_enough(1, CalibrationSpec(target_recall=0.999, confidence=0.9999), "lesions")
    assert refused.value.remedy == "Use a data set, or another split of it, with more malignant lesions in val"


def test_a_fallback_counts() -> None:
    require_evidence(evidence(val=9), CalibrationSpec(fallback="conformal_risk_control"))
    with pytest.raises(TooFewMalignantImages, match="conformal_risk_control needs at least 9"):
        require_evidence(evidence(val=8), CalibrationSpec(fallback="conformal_risk_control"))
    require_evidence(evidence(val=2), CalibrationSpec(policy="youden"))


def test_half_of_validation_calibrates_with_the_source_validation() -> None:
    calibration = CalibrationSpec(source="validation", share=0.5)
    require_evidence(evidence(val=58), calibration)
    with pytest.raises(TooFewMalignantImages, match="there are 28") as refused:
        require_evidence(evidence(val=56), calibration)
    assert "a larger calibration.share" in refused.value.remedy


def test_a_part_that_cannot_be_held_out_is_refused() -> None:
    with pytest.raises(HoldOutImpossible, match="10% cannot be held out: 1 malignant and 200 benign"):
        require_evidence(evidence(val=100, train=1), CalibrationSpec())


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_malignant_or_benign_images_is_refused(split: str) -> None:
    for missing, counts in (("malignant", ClassCounts(0, 9)), ("benign", ClassCounts(9, 0))):
        splits = {**evidence(val=60).images, split: counts}
        with pytest.raises(ClassMissing, match=f"split {split} has 0 {missing} of 9 images, and at least 1 is needed"):
            require_evidence(Evidence(splits, None, "images"), CalibrationSpec())


def test_lesions_that_were_never_counted_are_left_to_the_worker() -> None:
    require_evidence(Evidence(evidence(val=3).images, None, "lesions"), CalibrationSpec())


def test_generated_data_set_is_known_without_its_images(tmp_path: Path) -> None:
    known = evidence_of_synthetic("synthetic")
    generate(tmp_path / "synthetic.npz", image_size=8, counts=OFFICIAL_SIZES)
    layout = verify_layout(tmp_path / "synthetic.npz")
    assert layout.lesion_ids is not None
    for split, labels in layout.labels.items():
        assert known.images[split] == class_counts(labels)
        assert known.units is not None
        assert known.units[split] == class_counts(labels, np.asarray(layout.lesion_ids[split]))
