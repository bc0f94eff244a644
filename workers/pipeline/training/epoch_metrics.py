"""The metrics of an epoch, computed from scores and labels. Imports no Keras."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workers.pipeline.evaluation.curves import Ranking, areas, rank

Floats = NDArray[np.float64]

# Keras clips probabilities at the same distance from 0 and 1 before it takes logarithms.
MIN_PROBABILITY = 1e-7


class FigureUndefined(ValueError):
    """The sample admits no recall, no specificity or no curve."""


def binary_metrics(
    scores: ArrayLike, malignant: ArrayLike, threshold: float = 0.5, target_recall: float = 0.90
) -> dict[str, float]:
    """Recall, specificity, precision, f1, f2, auc, pr_auc, loss and specificity_at_recall, all finite, all but loss
    in [0, 1].

    `scores` (N,) are probabilities of malignant, `malignant` (N,) is 0 or 1. An image is called malignant at or above
    `threshold`; precision is 0 where none is. `pr_auc` is average precision, `loss` the mean cross-entropy, and
    `specificity_at_recall` the specificity at the highest threshold whose recall reaches `target_recall`. Raises
    `FigureUndefined` for scores that are not finite and for a sample without both classes.
    """
    scores, malignant = _as_sample(scores, malignant)
    called = scores >= threshold
    recall = float(called[malignant].mean())
    precision = float(malignant[called].mean()) if called.any() else 0.0
    ranking = rank(scores, malignant)
    area = areas(ranking, np.ones((1, len(scores))))
    return {
        "recall": recall,
        "specificity": float((~called)[~malignant].mean()),
        "precision": precision,
        "f1": _f_score(precision, recall, beta=1),
        "f2": _f_score(precision, recall, beta=2),
        "auc": float(area["roc_auc"][0]),
        "pr_auc": float(area["pr_auc"][0]),
        "loss": _cross_entropy(scores, malignant),
        "specificity_at_recall": _specificity_at_recall(ranking, target_recall),
    }


def _as_sample(scores: ArrayLike, malignant: ArrayLike) -> tuple[Floats, NDArray[np.bool_]]:
    scores, malignant = np.asarray(scores, dtype=np.float64), np.asarray(malignant).astype(bool)
    if scores.ndim != 1 or scores.shape != malignant.shape:
        raise FigureUndefined(f"scores {scores.shape} and labels {malignant.shape} must both have the shape (N,)")
    if not np.isfinite(scores).all():
        raise FigureUndefined("some scores are not finite; the network has diverged: lower its learning rate")
    if malignant.all() or not malignant.any():
        raise FigureUndefined(
            f"{int(malignant.sum())} of {len(malignant)} images are malignant; figures need both classes"
        )
    return scores, malignant


def _f_score(precision: float, recall: float, beta: float) -> float:
    if precision == 0 or recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def _cross_entropy(scores: Floats, malignant: NDArray[np.bool_]) -> float:
    likelihood = np.where(malignant, scores, 1.0 - scores)
    return float(-np.log(np.clip(likelihood, MIN_PROBABILITY, 1.0)).mean())


def _specificity_at_recall(ranking: Ranking, target_recall: float) -> float:
    true, false = (counts[0] for counts in ranking.counts(np.ones((1, len(ranking.order)))))
    reached = int(np.argmax(true / true[-1] >= target_recall))
    return float(1.0 - false[reached] / false[-1])
