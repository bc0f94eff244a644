"""Every decision rule `malignant iff p >= threshold` that a calibration set distinguishes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class ScoresUnusable(ValueError):
    """Scores or labels from which no threshold can be chosen."""


@dataclass(frozen=True)
class OperatingPoints:
    """Confusion counts of calling malignant every score at or above each distinct score, in ascending order."""

    scores: Floats
    true_positives: NDArray[np.int64]
    false_positives: NDArray[np.int64]
    positives: int
    negatives: int

    @property
    def recall(self) -> Floats:
        return self.true_positives / self.positives

    @property
    def specificity(self) -> Floats:
        return 1.0 - self.false_positives / self.negatives

    @property
    def precision(self) -> Floats:
        return self.true_positives / (self.true_positives + self.false_positives)

    def threshold(self, index: int) -> float:
        """Midway between the deciding score and the next lower distinct one; half of it where none is lower.

        Moving the threshold down inside that gap changes no decision on this set and can only raise sensitivity, so
        every bound still holds, while the last bits of a score (ONNX Runtime's differ by 1e-7 between batch sizes)
        no longer decide.
        """
        lower = self.scores[index - 1] if index > 0 else 0.0
        middle = lower + (self.scores[index] - lower) / 2
        return float(middle if middle > lower or index == 0 else self.scores[index])

    def margin(self, index: int) -> float:
        """Distance from the threshold to the nearest calibration score."""
        threshold = self.threshold(index)
        below = threshold - self.scores[index - 1] if index > 0 else np.inf
        return float(min(self.scores[index] - threshold, below))

    def lowest_as_specific(self, index: int) -> int:
        """Index of the lowest score that calls no more benign images malignant than the given one does.

        Without benign images there is no specificity to keep, and the index stays.
        """
        if self.negatives == 0:
            return index
        return int(np.argmax(self.false_positives == self.false_positives[index]))

    def deciding(self, score: float) -> int:
        """Index of a score that is known to be in the set."""
        return int(np.searchsorted(self.scores, score))


def operating_points(scores: Floats, malignant: NDArray[np.bool_]) -> OperatingPoints:
    """Count what each distinct score (N,) in [0, 1] would call malignant.

    Raises `ScoresUnusable` for wrong shapes, scores that are not probabilities, or a set without malignant images.
    """
    if scores.ndim != 1 or scores.shape != malignant.shape:
        raise ScoresUnusable(f"scores {scores.shape} and labels {malignant.shape} must both have the shape (N,)")
    if not np.all((scores >= 0) & (scores <= 1)):
        raise ScoresUnusable("scores must be probabilities in [0, 1] without NaN; check the model that made them")
    if not malignant.any():
        raise ScoresUnusable("the calibration set holds no malignant image, so recall is undefined; enlarge its share")
    distinct, index = np.unique(scores, return_inverse=True)
    positives = np.bincount(index, weights=malignant, minlength=len(distinct)).astype(np.int64)
    negatives = np.bincount(index, weights=~malignant, minlength=len(distinct)).astype(np.int64)
    return OperatingPoints(
        scores=distinct,
        true_positives=np.cumsum(positives[::-1])[::-1],
        false_positives=np.cumsum(negatives[::-1])[::-1],
        positives=int(positives.sum()),
        negatives=int(negatives.sum()),
    )
