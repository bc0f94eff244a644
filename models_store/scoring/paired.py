"""Two models on the same images: the difference of their figures, with an interval and a p-value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest, norm, rankdata


@dataclass(frozen=True)
class Difference:
    """`value` is the second model's figure less the first one's; `p_value` is two-sided, of no difference."""

    value: float
    low: float
    high: float
    p_value: float


def auc_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], malignant: NDArray[np.int64], confidence: float = 0.95
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
    p_value = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    return Difference(shown.value, shown.low, shown.high, float(p_value))


def pooled(differences: Sequence[Difference], confidence: float = 0.95) -> Difference:
    """The mean of differences on test sets taken for independent, each of which counts alike."""
    quantile = float(norm.ppf((1 + confidence) / 2))
    errors = [(each.high - each.low) / 2 / quantile for each in differences]
    value = sum(each.value for each in differences) / len(differences)
    return _normal(value, math.hypot(*errors) / len(errors), confidence)


def _placements(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> tuple[NDArray[np.float64], ...]:
    """For each malignant image the share of benign ones below it, for each benign one that of malignant ones above."""
    ranks = rankdata(scores)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    below = (ranks[positive] - rankdata(scores[positive])) / negatives
    above = 1 - (ranks[~positive] - rankdata(scores[~positive])) / positives
    return below, above


def _normal(value: float, error: float, confidence: float) -> Difference:
    half = float(norm.ppf((1 + confidence) / 2)) * error
    p_value = 2 * float(norm.sf(abs(value) / error)) if error else float(value == 0)
    return Difference(value, value - half, value + half, p_value)
