"""The calibration policies: each turns the operating points of a calibration set into one choice.

Among thresholds with the same specificity on the calibration set, every policy but `fixed` takes the lowest: a higher
one misses malignant images and spares no benign one. A promise about recall still holds, because lowering the threshold
can only raise recall. `models_store/datasets/evidence.py` defines how many malignant images a policy needs; with fewer
it is never called.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import binom

from models_store.contract.specs import CalibrationPolicy, CalibrationSpec
from models_store.datasets.evidence import RATE_DIGITS, miss_rate
from workers.pipeline.threshold.operating_points import Floats, OperatingPoints, ScoresUnusable


class PrecisionOutOfReach(ValueError):
    """No threshold reaches the precision asked for."""


@dataclass(frozen=True)
class Choice:
    """A threshold, its distance to the nearest calibration score, what the policy maximised, and its allowance."""

    threshold: float
    margin: float
    best_score: float | None
    allowed_misses: int | None = None


Policy = Callable[[OperatingPoints, Floats, CalibrationSpec], Choice]


def np_sensitivity(points: OperatingPoints, units: Floats, spec: CalibrationSpec) -> Choice:
    """Highest specificity at a recall of at least the target with the stated confidence (Neyman-Pearson)."""
    return _after_misses(points, units, misses_with_confidence(len(units), spec.target_recall, spec.confidence))


def conformal_risk_control(points: OperatingPoints, units: Floats, spec: CalibrationSpec) -> Choice:
    """Highest specificity at an expected miss rate, over calibration samples, of at most 1 - target."""
    return _after_misses(points, units, misses_in_expectation(len(units), spec.target_recall))


def recall_at_precision(points: OperatingPoints, _units: Floats, spec: CalibrationSpec) -> Choice:
    """Highest recall among thresholds with at least the precision asked for."""
    precision = points.precision
    if precision.max() < spec.min_precision:
        raise PrecisionOutOfReach(
            f"the calibration set reaches a precision of at most {precision.max():.3f}, below the asked "
            f"{spec.min_precision:g}; lower `min_precision` or choose another policy"
        )
    return _maximise(points, np.where(precision >= spec.min_precision, points.recall, -1.0))


def f_beta(points: OperatingPoints, _units: Floats, spec: CalibrationSpec) -> Choice:
    """Highest F-beta, which weighs recall `beta` times as much as precision."""
    squared = spec.beta**2
    called = points.true_positives + points.false_positives
    return _maximise(points, (1 + squared) * points.true_positives / (squared * points.positives + called))


def cost(points: OperatingPoints, _units: Floats, spec: CalibrationSpec) -> Choice:
    """Lowest mean cost an image; `best_score` is its negative, because higher is better in scikit-learn."""
    missed = points.positives - points.true_positives
    total = spec.false_negative_cost * missed + points.false_positives
    return _maximise(points, -total / (points.positives + points.negatives))


def youden(points: OperatingPoints, _units: Floats, _spec: CalibrationSpec) -> Choice:
    """Highest recall + specificity - 1 (Youden, Cancer 3(1), 1950)."""
    if points.negatives == 0:
        raise ScoresUnusable("youden needs benign images, and the calibration set holds none; enlarge its share")
    return _maximise(points, points.recall + points.specificity - 1.0)


def fixed(points: OperatingPoints, _units: Floats, spec: CalibrationSpec) -> Choice:
    """The threshold that the spec names; the calibration set only measures it."""
    assert spec.threshold is not None  # the spec's validation requires one for `fixed`
    return Choice(spec.threshold, float(np.abs(points.scores - spec.threshold).min()), best_score=None)


POLICIES: dict[CalibrationPolicy, Policy] = {
    "np_sensitivity": np_sensitivity,
    "conformal_risk_control": conformal_risk_control,
    "recall_at_precision": recall_at_precision,
    "f_beta": f_beta,
    "cost": cost,
    "youden": youden,
    "fixed": fixed,
}


def _after_misses(points: OperatingPoints, units: Floats, allowed: int) -> Choice:
    """Miss at most the scores below the (allowed + 1)-th lowest malignant one, and none that costs no specificity.

    The misses are fewer than allowed where scores tie, or where no benign image lies between two malignant ones.
    """
    index = points.lowest_as_specific(points.deciding(np.sort(units)[allowed]))
    return Choice(points.threshold(index), points.margin(index), float(points.recall[index]), allowed)


def _maximise(points: OperatingPoints, objective: Floats) -> Choice:
    """Best objective; a tie goes to the higher recall, which is the lower threshold, then to the higher precision."""
    index = int(np.lexsort((points.precision, points.recall, np.round(objective, 12)))[-1])
    return Choice(points.threshold(index), points.margin(index), float(objective[index]))


def misses_with_confidence(positives: int, target_recall: float, confidence: float) -> int:
    """Most misses `k` among `positives` such that recall >= target holds with the stated confidence; -1 if none do.

    The threshold at the (k + 1)-th lowest of n independent malignant scores has a true miss rate above alpha with
    probability at most P(Binomial(n, alpha) <= k), whatever the scores' distribution: the umbrella bound of Tong,
    Feng and Li, "Neyman-Pearson classification algorithms and NP receiver operating characteristics", Science
    Advances 4(2), 2018.
    """
    alpha, delta = miss_rate(target_recall), round(1.0 - confidence, RATE_DIGITS)
    # ppf is the least k with cdf(k) >= delta, so the answer is that k or the one before it.
    k = int(binom.ppf(delta, positives, alpha))
    return k if binom.cdf(k, positives, alpha) <= delta else k - 1


def misses_in_expectation(positives: int, target_recall: float) -> int:
    """Most misses `k` among `positives` such that the expected miss rate is at most alpha; -1 if none do.

    Conformal risk control requires (k + 1) / (n + 1) <= alpha for a loss bounded by 1: Angelopoulos, Bates, Fisch, Lei
    and Schuster, "Conformal risk control", ICLR 2024, theorem 1.
    """
    return math.floor(round(miss_rate(target_recall) * (positives + 1), RATE_DIGITS)) - 1
