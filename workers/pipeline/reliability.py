"""Whether 30 % means 30 %: reliability bins, expected calibration error and Brier score."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from workers.pipeline.intervals import Interval, clopper_pearson

BINS = 15


class ReliabilityBin(BaseModel):
    """Images of similar probability: the mean that was predicted beside the share that was malignant."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    predicted: float
    observed: float
    interval: Interval


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
