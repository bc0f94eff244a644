"""How much evidence an experiment needs, and whether a data set has it, for submissions and for workers."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models_store.contract.specs import CalibrationPolicy, CalibrationSpec
from models_store.datasets.labels import is_malignant

Unit = Literal["images", "lesions"]
# 0.1 * 10 is 1.0 but (1 - 0.9) * 10 is not: rounding the rate first keeps such bounds on the right side.
RATE_DIGITS = 12
MIN_RATE = 10.0**-RATE_DIGITS
REMEDY_DIGITS = 2


@dataclass(frozen=True)
class ClassCounts:
    """Malignant and benign images, or lesions: one is malignant if any of its images is."""

    malignant: int
    benign: int


@dataclass(frozen=True)
class Evidence:
    """What the splits of a data set hold, by split.

    `units` are what the guarantee counts: lesions, or images where lesions are unknown. It is None where lesions are
    known but were never counted.
    """

    images: Mapping[str, ClassCounts]
    units: Mapping[str, ClassCounts] | None
    unit: Unit


class TooLittleEvidence(ValueError):
    """A data set cannot carry an experiment; `finding` is the fact, `remedy` what a person can do about it."""

    def __init__(self, finding: str, remedy: str) -> None:
        super().__init__(f"{finding}. {remedy}")
        self.finding, self.remedy = finding, remedy


class ClassMissing(TooLittleEvidence):
    """A split, or a part of one, has no malignant or no benign images."""


class HoldOutImpossible(TooLittleEvidence):
    """A split cannot be divided so that both parts hold malignant and benign images."""


class TooFewMalignantImages(TooLittleEvidence):
    """The calibration part has too few malignant images for the guarantee."""

    def __init__(self, policy: CalibrationPolicy, found: int, calibration: CalibrationSpec, unit: Unit) -> None:
        self.found, self.needed = found, malignant_needed(policy, calibration)
        at = f" with a confidence of {calibration.confidence:g}" if policy == "np_sensitivity" else ""
        super().__init__(
            f"{policy} needs at least {self.needed} malignant {unit} in the calibration part to promise a recall of "
            f"{calibration.target_recall:g}{at}, and there are {found}",
            _remedy(policy, found, calibration, unit),
        )


def class_counts(labels: ArrayLike, lesion_ids: ArrayLike | None = None) -> ClassCounts:
    """Count class ids (N,), or what the N images show where `lesion_ids` (N,) name it."""
    malignant: NDArray[np.bool_] = is_malignant(labels).astype(bool)
    if lesion_ids is None:
        return ClassCounts(int(malignant.sum()), int((~malignant).sum()))
    lesions = np.asarray(lesion_ids)
    of_malignant = len(np.unique(lesions[malignant]))
    return ClassCounts(of_malignant, len(np.unique(lesions)) - of_malignant)


def require_evidence(evidence: Evidence, calibration: CalibrationSpec) -> None:
    """Raises `TooLittleEvidence` where an experiment with this `calibration` is certain to fail on the data set."""
    for split, counts in evidence.images.items():
        require_both_classes(counts, f"split {split}")
    if evidence.units is not None:
        require_enough(_calibration_part(evidence.units, calibration).malignant, calibration, evidence.unit)


def require_both_classes(counts: ClassCounts, name: str) -> None:
    """Raises `ClassMissing`."""
    for kind, found in (("malignant", counts.malignant), ("benign", counts.benign)):
        if found == 0:
            raise ClassMissing(
                f"the {name} has 0 {kind} of {counts.malignant + counts.benign} images, and at least 1 is needed",
                "Use a data set, or another split of it, with malignant and benign images in train, val and test",
            )


def require_enough(found: int, calibration: CalibrationSpec, unit: Unit) -> None:
    """Raises `TooFewMalignantImages` unless `found` malignant units suffice for the policy, or for its fallback."""
    policies = [policy for policy in (calibration.policy, calibration.fallback) if policy is not None]
    easiest = min(policies, key=lambda policy: malignant_needed(policy, calibration))
    require_enough_for(easiest, found, calibration, unit)


def require_enough_for(policy: CalibrationPolicy, found: int, calibration: CalibrationSpec, unit: Unit) -> None:
    """Raises `TooFewMalignantImages` unless `found` malignant units suffice for `policy`."""
    if found < malignant_needed(policy, calibration):
        raise TooFewMalignantImages(policy, found, calibration, unit)


def malignant_needed(policy: CalibrationPolicy, calibration: CalibrationSpec) -> int:
    """Fewest malignant units in the calibration part with which `policy` can choose a threshold."""
    if policy == "np_sensitivity":
        return needed_with_confidence(calibration.target_recall, calibration.confidence)
    if policy == "conformal_risk_control":
        return needed_in_expectation(calibration.target_recall)
    return 1


def miss_rate(target_recall: float) -> float:
    """The false-negative rate, alpha, that a target recall allows."""
    return round(1.0 - target_recall, RATE_DIGITS)


def needed_with_confidence(target_recall: float, confidence: float) -> int:
    """Fewest units of which no miss promises the recall with this confidence: 29 at 0.90 and 0.95, 59 at 0.95.

    Without a miss among n the bound is P(Binomial(n, alpha) = 0) = (1 - alpha)^n.
    """
    kept = max(1.0 - max(miss_rate(target_recall), MIN_RATE), MIN_RATE)
    delta = max(round(1.0 - confidence, RATE_DIGITS), MIN_RATE)
    return _least(lambda units: kept**units <= delta, math.floor(math.log(delta) / math.log(kept)) - 1)


def needed_in_expectation(target_recall: float) -> int:
    """Fewest units of which no miss promises the recall in expectation: 9 at 0.90, 19 at 0.95."""
    alpha = max(miss_rate(target_recall), MIN_RATE)
    return _least(lambda units: round(alpha * (units + 1), RATE_DIGITS) >= 1, math.floor(1 / alpha) - 2)


def _least(suffices: Callable[[int], bool], start: int) -> int:
    units = max(1, start)
    while not suffices(units):
        units += 1
    return units


def _calibration_part(units: Mapping[str, ClassCounts], calibration: CalibrationSpec) -> ClassCounts:
    """Raises `HoldOutImpossible`."""
    if calibration.reuse:
        return units["val"]
    if calibration.source == "validation":
        return held_out_counts(units["val"], calibration.share)
    held_out_counts(units["train"], calibration.share)
    return units["val"]


def held_out_counts(units: ClassCounts, share: float) -> ClassCounts:
    """What a stratified draw of `share` holds; where two draws are possible, the one with more malignant units.

    Raises `HoldOutImpossible` unless both sides get malignant and benign units.
    """
    total = units.malignant + units.benign
    taken = math.ceil(share * total)
    malignant = math.floor((2 * units.malignant * taken + total) / (2 * total))
    held = ClassCounts(malignant, taken - malignant)
    left = ClassCounts(units.malignant - held.malignant, units.benign - held.benign)
    if min(held.malignant, held.benign, left.malignant, left.benign) < 1:
        raise hold_out_impossible(share, units)
    return held


def hold_out_impossible(share: float, units: ClassCounts) -> HoldOutImpossible:
    return HoldOutImpossible(
        f"{share:.0%} cannot be held out: {units.malignant} malignant and {units.benign} benign lesions do not leave "
        "both kinds on both sides",
        "Use another share, more images, or reuse: true, which voids the guarantee",
    )


def _remedy(policy: CalibrationPolicy, found: int, calibration: CalibrationSpec, unit: Unit) -> str:
    lowered = " or ".join(
        f"calibration.{name} to {value:g}" for name, value in _within_reach(policy, found, calibration)
    )
    larger = f"a data set, or another split of it, with more malignant {unit} in val"
    if calibration.source == "validation" and not calibration.reuse:
        larger = f"a larger calibration.share, or {larger}"
    return f"Lower {lowered}, or use {larger}" if lowered else f"Use {larger}"


def _within_reach(policy: CalibrationPolicy, found: int, calibration: CalibrationSpec) -> Iterator[tuple[str, float]]:
    """The highest target, and the highest confidence, that `found` units can promise while the other stays."""
    for name in ("target_recall", "confidence") if policy == "np_sensitivity" else ("target_recall",):
        steps = range(math.floor(getattr(calibration, name) * 10**REMEDY_DIGITS), 0, -1)
        lowered = (step / 10**REMEDY_DIGITS for step in steps)
        reached = (
            value
            for value in lowered
            if malignant_needed(policy, calibration.model_copy(update={name: value})) <= found
        )
        if (value := next(reached, None)) is not None:
            yield name, value
