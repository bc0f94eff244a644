"""Logistic recalibration: whether probabilities are too high or too low, and too extreme or too moderate."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.scoring.probability_calibration import logit, sigmoid

Floats = NDArray[np.float64]
STEPS = 20
TOLERANCE = 1e-6


class Recalibration:
    """Fits of outcome on log-odds for any number of reweighted samples of N images.

    `slope` is that of logit P(malignant) = a + b logit(p), 1 if right and below 1 where probabilities are too extreme.
    `intercept` is a with b fixed at 1, 0 if right and above 0 where probabilities are too low (Van Calster et al., BMC
    Medicine 17:230, 2019). NaN where a sample has no finite fit, as when it separates the classes.
    """

    def __init__(self, probabilities: Floats, malignant: NDArray[Any]) -> None:
        self._log_odds, self._malignant = logit(probabilities), np.asarray(malignant, dtype=np.float64)
        # Resamples resemble the sample, so their fits start at its own.
        self._intercept, self._slope = np.zeros((1, 1)), np.zeros((2, 1))
        everything = np.ones((1, len(probabilities)))
        self._intercept = np.nan_to_num(self._fit(everything, self._intercept, offset=self._log_odds))
        self._slope = np.nan_to_num(self._fit(everything, self._slope))

    def __call__(self, weights: NDArray[Any]) -> dict[str, Floats]:
        """`calibration_intercept` and `calibration_slope` (B,) of samples given by weights (B, N)."""
        intercept = self._fit(weights, self._intercept, offset=self._log_odds)
        return {"calibration_intercept": intercept[0], "calibration_slope": self._fit(weights, self._slope)[1]}

    def _fit(self, weights: NDArray[Any], start: Floats, offset: Floats | float = 0.0) -> Floats:
        """Newton's method for all samples at once: coefficients (K, B) of a constant and, if K is 2, the log-odds."""
        terms = np.stack([np.ones_like(self._log_odds), self._log_odds])[: len(start)]
        fitted = np.repeat(start, len(weights), axis=1)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            for _ in range(STEPS):
                expected = sigmoid(fitted.T @ terms + offset)
                gradient = (weights * (self._malignant - expected)) @ terms.T
                curvature = weights * expected * (1 - expected)
                step = _solved([[curvature @ (one * other) for one in terms] for other in terms], gradient.T)
                fitted = fitted + step
                settled = np.all(np.abs(step) < TOLERANCE, axis=0)
                if settled.all():
                    break
        return np.where(settled, fitted, np.nan)


def _solved(matrix: list[list[Floats]], right: Floats) -> Floats:
    """The solutions of B systems of one or two equations, given entry by entry as (B,)."""
    if len(matrix) == 1:
        return right / matrix[0][0]
    (a, b), (c, d) = matrix
    determinant = a * d - b * c
    return np.stack([d * right[0] - b * right[1], a * right[1] - c * right[0]]) / determinant
