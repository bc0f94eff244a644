"""Calibrates the network's probabilities without changing their order."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from sklearn.covariance import ledoit_wolf
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold

from models_store.contract.records import Calibratedness, Method, OutOfDistributionFit, ProbabilityChoice
from models_store.scoring.out_of_distribution import FeatureDistribution
from models_store.scoring.probability_calibration import ProbabilityCalibration, logit
from models_store.scoring.scorer import Scorer
from workers.pipeline.data import ExperimentData
from workers.pipeline.evaluation.intervals import brier, expected_calibration_error

METHODS: tuple[Method, ...] = ("identity", "temperature", "platt")
FOLDS = 5

# Temperatures from 0.05 to 20; a fit beyond them means that the scores carry no information.
LOG_TEMPERATURES = (-3.0, 3.0)


def calibrate_probabilities(
    probabilities: ArrayLike, malignant: ArrayLike, *, lesion_ids: ArrayLike | None = None, seed: int = 0
) -> ProbabilityChoice:
    """Choose identity, temperature or Platt scaling by cross-validated log loss on the calibration split.

    `probabilities` (N,) are the network's, `malignant` (N,) is 0 or 1; folds are stratified and never divide a lesion.
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
    """Fit one map by maximum likelihood; identity where the best fit decreases."""
    if method == "temperature":
        return _temperature(probabilities, malignant)
    if method == "platt":
        return _platt(probabilities, malignant)
    return ProbabilityCalibration()


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


# More images change no figure of docs/unlike-training.md by more than a few points; a ResNet50 takes 10 ms for each.
MAX_IMAGES = 2000
MAX_DIRECTIONS = 128
# This share of images like those of the calibration part, which neither training nor selection saw, is below the cut.
USUAL_SHARE = 0.99
MIN_VARIANCE = 1e-9


def fit_distribution(
    scorer: Scorer, data: ExperimentData, seed: int
) -> tuple[FeatureDistribution, OutOfDistributionFit]:
    """The distribution of the training images' features with its cut, and a record of the fit.

    The covariance is shrunk as Ledoit and Wolf (2004) derive, so that it is regular with fewer images than features.
    """
    images = data.train.images
    if len(images) > MAX_IMAGES:
        drawn = np.random.default_rng(seed).choice(len(images), MAX_IMAGES, replace=False)
        images = images[np.sort(drawn)]
    fitted = fitted_to(scorer.features(images))
    distances = fitted.distances(scorer.features(data.calibration.images))
    cut = float(np.quantile(distances, USUAL_SHARE, method="higher"))
    distribution = FeatureDistribution(fitted.center, fitted.directions, fitted.variances, fitted.remainder, cut)
    return distribution, OutOfDistributionFit(
        method="mahalanobis",
        cut=cut,
        usual_share=USUAL_SHARE,
        features=distribution.features,
        directions=len(distribution.variances),
        training_images=len(images),
        calibration_images=len(distances),
    )


def fitted_to(features: NDArray[np.floating]) -> FeatureDistribution:
    """Center and shrunk covariance of features (N, D), float64; the cut is still 1."""
    center = features.mean(axis=0, dtype=np.float64)
    covariance, _ = ledoit_wolf(features - center, assume_centered=True)
    ascending, vectors = np.linalg.eigh(covariance)
    variances, directions = np.maximum(ascending[::-1], MIN_VARIANCE), vectors[:, ::-1]
    kept = min(MAX_DIRECTIONS, len(variances))
    remainder = float(variances[kept:].mean()) if kept < len(variances) else float(variances[-1])
    return FeatureDistribution(center, directions[:, :kept].copy(), variances[:kept], remainder, 1.0)
