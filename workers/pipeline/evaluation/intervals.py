"""How far a figure can be trusted: exact and bootstrap intervals, reliability bins, calibration error, Brier score."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from models_store.contract.figures import Interval, ReliabilityBin

RESAMPLES = 2_000
CHUNK = 250

Statistic = Callable[[NDArray[Any]], dict[str, NDArray[np.float64]]]


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Exact interval of a binomial proportion (Clopper and Pearson, Biometrika 26, 1934); [0, 1] of no trials."""
    if trials == 0:
        return Interval(low=0.0, high=1.0)
    limits = binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return Interval(low=float(limits.low), high=float(limits.high))


def bootstrap(
    statistic: Statistic,
    images: int,
    *,
    lesion_ids: ArrayLike | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
) -> dict[str, Interval | None]:
    """Percentile bootstrap intervals of weighted statistics.

    `statistic` takes weights (B, N), how often each image was drawn, and gives each figure as (B,), NaN where a
    resample leaves it undefined. With ids (N,), whole lesions are drawn, with all their
    photographs. None where more than one resample in ten is undefined. Efron and Tibshirani, 1993, chapter 13.
    """
    ids = np.arange(images) if lesion_ids is None else np.asarray(lesion_ids)
    lesion = np.unique(ids, return_inverse=True)[1]
    random = np.random.default_rng(seed)
    drawn = [statistic(_weights(lesion, random, min(CHUNK, resamples - start))) for start in range(0, resamples, CHUNK)]
    return {name: _percentiles(np.concatenate([part[name] for part in drawn]), confidence) for name in drawn[0]}


def _weights(lesion: NDArray[np.int64], random: np.random.Generator, resamples: int) -> NDArray[np.int64]:
    lesions = int(lesion.max()) + 1
    chosen = random.integers(lesions, size=(resamples, lesions)) + lesions * np.arange(resamples)[:, None]
    counts = np.bincount(chosen.ravel(), minlength=resamples * lesions).reshape(resamples, lesions)
    return counts[:, lesion]


def _percentiles(values: NDArray[np.float64], confidence: float) -> Interval | None:
    if np.isnan(values).mean() > 0.1:
        return None
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(low=float(low), high=float(high))


BINS = 15


def reliability_bins(
    probabilities: NDArray[np.float64], malignant: NDArray[Any], bins: int = BINS
) -> tuple[ReliabilityBin, ...]:
    """Split probabilities (N,) into bins of equal mass, ascending; fewer where N < bins."""
    order = np.argsort(probabilities, kind="stable")
    return tuple(
        _bin(probabilities[part], np.asarray(malignant)[part]) for part in np.array_split(order, bins) if len(part)
    )


def expected_calibration_error(probabilities: NDArray[np.float64], malignant: NDArray[Any], bins: int = BINS) -> float:
    """Mean |predicted - observed| over bins of equal mass, weighted by their images; 0 is best."""
    parts = reliability_bins(probabilities, malignant, bins)
    return float(sum(part.images * abs(part.predicted - part.observed) for part in parts) / len(probabilities))


def resampled_calibration_error(
    probabilities: NDArray[np.float64], malignant: NDArray[Any], bins: int = BINS
) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    """The same of resamples: from weights (B, N) to errors (B,), with bins of equal mass in each resample."""
    order = np.argsort(probabilities, kind="stable")
    distance = (probabilities - np.asarray(malignant))[order]

    def errors(weights: NDArray[Any]) -> NDArray[np.float64]:
        ordered = weights[:, order].astype(np.float64)
        images = ordered.sum(axis=1, keepdims=True)
        middle = np.cumsum(ordered, axis=1) - ordered / 2
        places = np.minimum(bins * middle / images, bins - 1).astype(np.int64) + bins * np.arange(len(weights))[:, None]
        sums = np.bincount(places.ravel(), (ordered * distance).ravel(), minlength=bins * len(weights))
        total: NDArray[np.float64] = np.abs(sums).reshape(len(weights), bins).sum(axis=1) / images[:, 0]
        return total

    return errors


def brier(probabilities: NDArray[np.float64], malignant: NDArray[Any]) -> float:
    """Mean squared difference between probability and outcome."""
    return float(np.mean((probabilities - np.asarray(malignant)) ** 2))


def _bin(probabilities: NDArray[np.float64], malignant: NDArray[Any]) -> ReliabilityBin:
    positives = int(malignant.sum())
    return ReliabilityBin(
        images=len(probabilities),
        predicted=float(probabilities.mean()),
        observed=positives / len(probabilities),
        interval=clopper_pearson(positives, len(probabilities)),
    )
