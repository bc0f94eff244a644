"""ROC and precision-recall curves and their areas, for one sample or for many reweighted ones at once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.contract.figures import CurvePoint

Floats = NDArray[np.float64]
RECALL_FLOOR = 0.8


@dataclass(frozen=True)
class Ranking:
    """Images from the highest score to the lowest; `last` marks the end of each run of equal scores."""

    order: NDArray[np.int64]
    last: NDArray[np.int64]
    malignant: NDArray[np.bool_]

    def counts(self, weights: NDArray[Any]) -> tuple[Floats, Floats]:
        """Weighted true and false positives (B, D) at each of D distinct scores, given weights (B, N)."""
        sorted_weights = weights[:, self.order].astype(np.float64)
        true = np.cumsum(np.where(self.malignant, sorted_weights, 0.0), axis=1)[:, self.last]
        called = np.cumsum(sorted_weights, axis=1)[:, self.last]
        return true, called - true


def rank(scores: Floats, malignant: NDArray[Any]) -> Ranking:
    """Sort scores (N,) once for any number of reweighted curves."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    return Ranking(order, last, np.asarray(malignant)[order].astype(bool))


def areas(ranking: Ranking, weights: NDArray[Any]) -> dict[str, Floats]:
    """`roc_auc`, `pr_auc` and `partial_auc` (B,) of samples given by weights (B, N); NaN where a class is absent.

    `pr_auc` is average precision. `partial_auc` is the area under the ROC curve above a recall of 0.8, from 0 to 0.2,
    as the ISIC 2024 challenge scores it: it ignores operating points no screening would use.
    """
    true, false = ranking.counts(weights)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = _from_zero(true / true[:, -1:])
        specificity = 1.0 - _from_zero(false / false[:, -1:])
        precision = np.nan_to_num(true / (true + false))
        pr_auc = np.sum(np.diff(recall, axis=1) * precision, axis=1)
    roc_auc = _area_above(recall, specificity, 0.0)
    return {
        "roc_auc": roc_auc,
        "pr_auc": np.where(np.isnan(roc_auc), np.nan, pr_auc),
        "partial_auc": _area_above(recall, specificity, RECALL_FLOOR),
    }


def curve_points(scores: Floats, malignant: NDArray[Any], most: int = 200) -> tuple[CurvePoint, ...]:
    """ROC and precision-recall curve from the highest threshold to the lowest, thinned to at most `most` points.

    Needs both classes.
    """
    ranking = rank(scores, malignant)
    true, false = (counts[0] for counts in ranking.counts(np.ones((1, len(scores)))))
    kept = np.unique(np.linspace(0, len(true) - 1, most).round().astype(int))
    thresholds = scores[ranking.order][ranking.last]
    return tuple(
        CurvePoint(
            threshold=float(thresholds[i]),
            recall=float(true[i] / true[-1]),
            false_positive_rate=float(false[i] / false[-1]),
            precision=float(true[i] / (true[i] + false[i])),
        )
        for i in kept
    )


def _from_zero(rates: Floats) -> Floats:
    return np.pad(rates, ((0, 0), (1, 0)))


def _area_above(recall: Floats, specificity: Floats, floor: float) -> Floats:
    """Integrate specificity over recall from `floor` to 1 by trapezoids, cutting the one that crosses the floor."""
    start, end = recall[:, :-1], recall[:, 1:]
    width = end - start
    cut = np.clip(floor - start, 0.0, width)
    slope = np.divide(specificity[:, 1:] - specificity[:, :-1], width, out=np.zeros_like(width), where=width > 0)
    at_cut = specificity[:, :-1] + slope * cut
    area: Floats = np.sum((width - cut) * (at_cut + specificity[:, 1:]) / 2, axis=1)
    return area
