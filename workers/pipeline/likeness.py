"""What training images look like to the network, so that an upload that looks otherwise can be told."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from models_store.likeness import Likeness
from models_store.scoring import Scorer
from workers.pipeline.data import StudyData

# More move no figure of docs/unlike-training.md by more than a few points, and a ResNet50 takes 10 ms an image.
MOST_IMAGES = 2000
MOST_DIRECTIONS = 128
# This share of images like those of the calibration part, which neither training nor selection saw, is below the cut.
USUAL_SHARE = 0.99
LEAST_VARIANCE = 1e-9


def fit_likeness(scorer: Scorer, data: StudyData, seed: int) -> tuple[Likeness, dict[str, Any]]:
    """The training images' likeness with its cut, and how both came about, as JSON.

    The covariance is shrunk as Ledoit and Wolf (2004) derive, so that it is regular with fewer images than features.
    """
    images = data.train.images
    if len(images) > MOST_IMAGES:
        drawn = np.random.default_rng(seed).choice(len(images), MOST_IMAGES, replace=False)
        images = images[np.sort(drawn)]
    fitted = fitted_to(scorer.features(images))
    distances = fitted.distances(scorer.features(data.calibration.images))
    cut = float(np.quantile(distances, USUAL_SHARE, method="higher"))
    likeness = Likeness(fitted.center, fitted.directions, fitted.variances, fitted.remainder, cut)
    return likeness, {
        "method": "mahalanobis",
        "cut": cut,
        "usual_share": USUAL_SHARE,
        "features": likeness.features,
        "directions": len(likeness.variances),
        "training_images": len(images),
        "calibration_images": len(distances),
    }


def fitted_to(features: NDArray[np.floating]) -> Likeness:
    """Center and shrunk covariance of features (N, D), float64; the cut is still 1."""
    center = features.mean(axis=0, dtype=np.float64)
    covariance, _ = ledoit_wolf(features - center, assume_centered=True)
    ascending, vectors = np.linalg.eigh(covariance)
    variances, directions = np.maximum(ascending[::-1], LEAST_VARIANCE), vectors[:, ::-1]
    kept = min(MOST_DIRECTIONS, len(variances))
    remainder = float(variances[kept:].mean()) if kept < len(variances) else float(variances[-1])
    return Likeness(center, directions[:, :kept].copy(), variances[:kept], remainder, 1.0)
