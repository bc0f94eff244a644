"""Recall first: the figures of one decision rule on one sample, with their uncertainty."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models_store.contract.figures import Confusion, Figures, Interval
from workers.pipeline.evaluation.curves import areas, rank
from workers.pipeline.evaluation.intervals import bootstrap, clopper_pearson

Floats = NDArray[np.float64]


class ScoresMismatch(ValueError):
    """Scores that do not belong to the split."""


def measure(
    scores: Floats,
    malignant: NDArray[Any],
    threshold: float,
    *,
    prevalence: float,
    lesion_ids: ArrayLike | None = None,
    seed: int = 0,
) -> Figures:
    """Measure probabilities (N,) against labels (N,) of 0 and 1 at a threshold."""
    is_malignant, called = np.asarray(malignant).astype(bool), scores >= threshold
    ranking = rank(scores, is_malignant)

    def statistics(weights: NDArray[Any]) -> dict[str, Floats]:
        rates = at_threshold(weights, is_malignant, called)
        return areas(ranking, weights) | rates | _predictive_values(rates, prevalence)

    values = statistics(np.ones((1, len(scores))))
    counts = _confusion(is_malignant, called)
    intervals = bootstrap(statistics, len(scores), lesion_ids=lesion_ids, seed=seed)
    return Figures(
        **{name: _defined(value[0]) for name, value in values.items()},
        confusion=counts,
        prevalence=prevalence,
        threshold=threshold,
        images=len(scores),
        intervals=dict(sorted((intervals | exact_intervals(counts)).items(), key=_field_order)),
    )


def exact_intervals(counts: Confusion) -> dict[str, Interval | None]:
    """Clopper-Pearson intervals of the three rates; None of a rate without trials."""
    tn, fp, fn, tp = counts.tn, counts.fp, counts.fn, counts.tp
    rates = {"recall": (tp, tp + fn), "specificity": (tn, tn + fp), "precision": (tp, tp + fp)}
    return {name: clopper_pearson(*rate) if rate[1] else None for name, rate in rates.items()}


def at_threshold(weights: NDArray[Any], malignant: NDArray[np.bool_], called: NDArray[np.bool_]) -> dict[str, Floats]:
    """Rates (B,) of samples given by weights (B, N), from their weighted confusion counts; NaN where not defined."""
    tp, fp = weights @ (malignant & called).astype(float), weights @ (~malignant & called).astype(float)
    fn, tn = weights @ (malignant & ~called).astype(float), weights @ (~malignant & ~called).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "recall": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "precision": tp / (tp + fp),
            "f1": 2 * tp / (2 * tp + fp + fn),
            "f2": 5 * tp / (5 * tp + fp + 4 * fn),
        }


def _predictive_values(rates: Mapping[str, Floats], prevalence: float) -> dict[str, Floats]:
    recall, specificity = rates["recall"], rates["specificity"]
    true_calls, false_calls = prevalence * recall, (1 - prevalence) * (1 - specificity)
    true_clears, false_clears = (1 - prevalence) * specificity, prevalence * (1 - recall)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "ppv": true_calls / (true_calls + false_calls),
            "npv": true_clears / (true_clears + false_clears),
        }


def _confusion(malignant: NDArray[np.bool_], called: NDArray[np.bool_]) -> Confusion:
    return Confusion(
        tn=int(np.sum(~malignant & ~called)),
        fp=int(np.sum(~malignant & called)),
        fn=int(np.sum(malignant & ~called)),
        tp=int(np.sum(malignant & called)),
    )


def _defined(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _field_order(item: tuple[str, Any]) -> int:
    return list(Figures.model_fields).index(item[0])
