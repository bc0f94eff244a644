"""Making the network's scores honest probabilities without changing their order."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from models_store.scoring import ProbabilityCalibration, logit
from workers.pipeline.reliability import brier, expected_calibration_error

Method = Literal["identity", "temperature", "platt"]
METHODS: tuple[Method, ...] = ("identity", "temperature", "platt")
FOLDS = 5

# Temperatures from 0.05 to 20; beyond them a fit says that the scores carry nothing, not that they are miscalibrated.
LOG_TEMPERATURES = (-3.0, 3.0)


class Calibratedness(BaseModel):
    """How well probabilities match outcomes; the lower the better."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ece: float
    brier: float
    log_loss: float


class ProbabilityChoice(BaseModel):
    """The chosen map, the cross-validated log loss of each candidate, and calibratedness before and after.

    `after` is measured out of fold, on images that the map was not fitted to.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    calibration: ProbabilityCalibration
    cross_validated_log_loss: dict[Method, float]
    before: Calibratedness
    after: Calibratedness


def calibrate_probabilities(
    probabilities: ArrayLike, malignant: ArrayLike, *, lesion_ids: ArrayLike | None = None, seed: int = 0
) -> ProbabilityChoice:
    """Choose identity, temperature or Platt scaling by cross-validated log loss on the calibration split.

    `probabilities` (N,) are the network's, `malignant` (N,) is 0 or 1; folds are stratified and never part a lesion.
    The simpler map wins a tie. With fewer than five images (or lesions) of either class only identity is considered.
    Temperature: Guo et al., ICML 2017. Platt, "Probabilistic outputs for support vector machines", 1999.
    """
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(malignant).astype(np.int64)
    groups = np.arange(len(p)) if lesion_ids is None else np.unique(np.asarray(lesion_ids), return_inverse=True)[1]
    held_out = _out_of_fold(p, y, groups, seed)
    losses = {method: log_loss_of(predicted, y) for method, predicted in held_out.items()}
    method = min(losses, key=losses.__getitem__)
    fitted = fit(method, p, y)
    return ProbabilityChoice(
        calibration=fitted,
        cross_validated_log_loss=losses,
        before=calibratedness(p, y),
        after=calibratedness(held_out[method], y),
    )


def fit(method: Method, probabilities: NDArray[np.float64], malignant: NDArray[Any]) -> ProbabilityCalibration:
    """Fit one map by maximum likelihood; identity where the data ask for a decreasing one."""
    if method == "temperature":
        return _temperature(probabilities, malignant)
    if method == "platt":
        return _platt(probabilities, malignant)
    return ProbabilityCalibration()


def apply(parameters: ProbabilityCalibration | dict[str, Any], probabilities: ArrayLike) -> NDArray[np.float64]:
    """Map probabilities by a stored calibration, also one just read from JSON."""
    return ProbabilityCalibration.model_validate(parameters)(np.asarray(probabilities, dtype=np.float64))


def calibratedness(probabilities: NDArray[np.float64], malignant: NDArray[Any]) -> Calibratedness:
    """Expected calibration error (15 bins of equal mass), Brier score and log loss."""
    return Calibratedness(
        ece=expected_calibration_error(probabilities, malignant),
        brier=brier(probabilities, malignant),
        log_loss=log_loss_of(probabilities, malignant),
    )


def log_loss_of(probabilities: NDArray[np.float64], malignant: NDArray[Any]) -> float:
    """Mean negative log likelihood, also where only one class is present."""
    return float(log_loss(malignant, probabilities, labels=[0, 1]))


def _out_of_fold(
    p: NDArray[np.float64], y: NDArray[np.int64], groups: NDArray[np.int64], seed: int
) -> dict[Method, NDArray[np.float64]]:
    if min(len(np.unique(groups[y == label])) for label in (0, 1)) < FOLDS:
        return {"identity": p}
    predicted = {method: np.empty_like(p) for method in METHODS}
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for inside, outside in folds.split(p, y, groups):
        for method in METHODS:
            predicted[method][outside] = fit(method, p[inside], y[inside])(p[outside])
    return predicted


def _temperature(p: NDArray[np.float64], y: NDArray[Any]) -> ProbabilityCalibration:
    def loss(log_temperature: float) -> float:
        slope = float(np.exp(-log_temperature))
        return log_loss_of(ProbabilityCalibration(method="temperature", slope=slope)(p), y)

    best = minimize_scalar(loss, bounds=LOG_TEMPERATURES, method="bounded")
    return ProbabilityCalibration(method="temperature", slope=float(np.exp(-best.x)))


def _platt(p: NDArray[np.float64], y: NDArray[Any]) -> ProbabilityCalibration:
    regression = LogisticRegression(C=np.inf).fit(logit(p)[:, None], y)
    slope, intercept = float(regression.coef_[0, 0]), float(regression.intercept_[0])
    if slope <= 0:
        return ProbabilityCalibration()
    return ProbabilityCalibration(method="platt", slope=slope, intercept=intercept)
