"""Two models on the same images: the difference of their figures, with an interval and a p-value.

The web image has no SciPy, and these are three short formulas; the tests compare them with SciPy's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Difference:
    """`value` is the second model's figure less the first one's; `p_value` is two-sided, of no difference."""

    value: float
    low: float
    high: float
    p_value: float


def auc_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], malignant: NDArray[Any], confidence: float = 0.95
) -> Difference:
    """How much the ROC AUC of the `second` scores (N,) exceeds that of the `first`.

    DeLong, DeLong and Clarke-Pearson, Biometrics 44:837 (1988), by the midranks of Sun and Xu, IEEE Signal Processing
    Letters 21:1389 (2014). Raises ValueError where a class is absent.
    """
    positive = malignant == 1
    if positive.all() or not positive.any():
        raise ValueError("ROC AUC needs malignant and benign images; this test set lacks one of them")
    placements = [_placements(scores, positive) for scores in (first, second)]
    of_positives = placements[1][0] - placements[0][0]
    of_negatives = placements[1][1] - placements[0][1]
    variance = sum(float(np.var(part, ddof=1)) / len(part) for part in (of_positives, of_negatives) if len(part) > 1)
    return _normal(float(of_positives.mean()), math.sqrt(variance), confidence)


def proportion_difference(first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float = 0.95) -> Difference:
    """How much the share of right calls of the `second` model (N,) exceeds that of the `first`, on the same images.

    The interval is Wald's for paired proportions, the p-value that of McNemar's exact test. Raises ValueError without
    images.
    """
    if not len(first):
        raise ValueError("there are no images of this class to compare on")
    gained, lost = int((second & ~first).sum()), int((first & ~second).sum())
    images = len(first)
    value = (gained - lost) / images
    error = math.sqrt(max(gained + lost - (gained - lost) ** 2 / images, 0.0)) / images
    shown = _normal(value, error, confidence)
    return Difference(shown.value, shown.low, shown.high, _mcnemar(gained, lost))


def pooled(differences: Sequence[Difference], confidence: float = 0.95) -> Difference:
    """The mean of differences on test sets taken for independent, each of which counts alike."""
    quantile = _quantile(confidence)
    errors = [(each.high - each.low) / 2 / quantile for each in differences]
    value = sum(each.value for each in differences) / len(differences)
    return _normal(value, math.hypot(*errors) / len(errors), confidence)


def _placements(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """For each malignant image the share of benign ones below it, for each benign one that of malignant ones above."""
    ranks = _midranks(scores)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    below = (ranks[positive] - _midranks(scores[positive])) / negatives
    above = 1 - (ranks[~positive] - _midranks(scores[~positive])) / positives
    return below, above


def _midranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 1; equal scores share the mean of theirs."""
    _, place, images = np.unique(scores, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(images) - (images - 1) / 2)[place]
    return ranks


def _mcnemar(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p-value: whether `gained` of the images that differ is half of them."""
    differing = gained + lost
    tail = sum(math.comb(differing, fewer) for fewer in range(min(gained, lost) + 1))
    return min(1.0, 2 * tail / (1 << differing))


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _normal(value: float, error: float, confidence: float) -> Difference:
    half = _quantile(confidence) * error
    p_value = math.erfc(abs(value) / error / math.sqrt(2)) if error else float(value == 0)
    return Difference(value, value - half, value + half, p_value)
