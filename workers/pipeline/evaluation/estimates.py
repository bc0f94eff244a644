"""Likelihood ratios of the decision and calibration of the probabilities, each with a bootstrap interval."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models_store.contract.figures import Estimate, Interval
from workers.pipeline.evaluation.figures import at_threshold
from workers.pipeline.evaluation.intervals import BINS, CHUNK, RESAMPLES, bootstrap, resampled_calibration_error
from workers.pipeline.evaluation.recalibration import Recalibration

Floats = NDArray[np.float64]


def estimates(
    scores: Floats,
    malignant: NDArray[np.bool_],
    threshold: float,
    *,
    lesion_ids: ArrayLike | None = None,
    seed: int = 0,
) -> dict[str, Estimate | None]:
    """Likelihood ratios, calibration intercept and slope of probabilities (N,); None where the sample defines none."""
    recalibration, called = Recalibration(scores, malignant), scores >= threshold

    def statistics(weights: NDArray[Any]) -> dict[str, Floats]:
        return _likelihood_ratios(weights, malignant, called) | recalibration(weights)

    values = statistics(np.ones((1, len(scores))))
    intervals = bootstrap(statistics, len(scores), lesion_ids=lesion_ids, seed=seed)
    return {
        name: Estimate(value=float(value[0]), interval=intervals[name]) if np.isfinite(value[0]) else None
        for name, value in values.items()
    }


def calibration_error_interval(
    scores: Floats, malignant: NDArray[np.bool_], ece: float, *, lesion_ids: ArrayLike | None = None, seed: int = 0
) -> Interval:
    """Reflected bootstrap interval of the calibration error `ece` of probabilities (N,).

    A resample adds its own error to the distance between probability and outcome, so that percentiles lie too high;
    reflected at the measured error they do not (basic bootstrap; Davison and Hinkley, 1997, section 5.2). The interval
    is widened to hold the measured error. It rarely reaches 0, even for calibrated probabilities, whose error is
    chance alone; for these compare `calibration_error_by_chance`.
    """
    statistic = resampled_calibration_error(scores, malignant)
    drawn = bootstrap(lambda weights: {"ece": statistic(weights)}, len(scores), lesion_ids=lesion_ids, seed=seed)["ece"]
    assert drawn is not None  # it is defined in every resample
    return Interval(low=max(0.0, 2 * ece - drawn.high), high=max(ece, 2 * ece - drawn.low))


def calibration_error_by_chance(scores: Floats, *, lesion_ids: ArrayLike | None = None, seed: int = 0) -> float:
    """The error that calibrated probabilities (N,) stay below in 95 % of test sets of these images.

    Outcomes are drawn from the probabilities; photographs of one lesion share their draw.
    """
    lesion = np.unique(np.arange(len(scores)) if lesion_ids is None else lesion_ids, return_inverse=True)[1]
    order, random = np.argsort(scores, kind="stable"), np.random.default_rng(seed)
    starts = np.unique([part[0] for part in np.array_split(np.arange(len(scores)), BINS) if len(part)])
    errors = []
    for _ in range(RESAMPLES // CHUNK):
        outcomes = random.random((CHUNK, lesion.max() + 1))[:, lesion] < scores
        sums = np.add.reduceat((scores - outcomes)[:, order], starts, axis=1)
        errors.append(np.abs(sums).sum(axis=1) / len(scores))
    return float(np.quantile(errors, 0.95))


def _likelihood_ratios(
    weights: NDArray[Any], malignant: NDArray[np.bool_], called: NDArray[np.bool_]
) -> dict[str, Floats]:
    """Ratios (B,) of samples given by weights (B, N); NaN where one divides by zero."""
    rates = at_threshold(weights, malignant, called)
    recall, specificity = rates["recall"], rates["specificity"]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = {
            "positive_likelihood_ratio": recall / (1 - specificity),
            "negative_likelihood_ratio": (1 - recall) / specificity,
        }
    return {name: np.where(np.isfinite(ratio), ratio, np.nan) for name, ratio in ratios.items()}
