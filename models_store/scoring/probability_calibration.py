"""A map from a network's own probabilities to calibrated ones, kept as three numbers."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

# Wide enough to keep the saturated float32 outputs 0 and 1 apart from their neighbours 1e-45 and 1 - 6e-8.
LOWEST, HIGHEST = 1e-46, 1 - 2.0**-26


class ProbabilityCalibration(BaseModel):
    """p -> sigmoid(slope * logit(p) + intercept), strictly increasing, so no decision rule loses its order.

    Identity has slope 1 and intercept 0, temperature scaling slope 1 / T and intercept 0, Platt scaling both free.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    method: Literal["identity", "temperature", "platt"] = "identity"
    slope: float = Field(1.0, gt=0)
    intercept: float = 0.0

    def __call__(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map probabilities of any shape; returns float64 in [0, 1] of the same shape."""
        p = np.asarray(probabilities, dtype=np.float64)
        if self.method == "identity":
            return p
        return sigmoid(self.slope * logit(p) + self.intercept)


def logit(probabilities: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """Log-odds, finite also at 0 and 1."""
    clipped = np.clip(probabilities, LOWEST, HIGHEST)
    odds: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds


def sigmoid(log_odds: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)) without overflow."""
    small = np.exp(-np.abs(log_odds))
    return np.where(log_odds >= 0, 1.0, small) / (1.0 + small)
