"""How far an image's features lie from those of the training images: what `unlike_training` warns of.

The Mahalanobis distance of Lee et al. (A simple unified framework for detecting out-of-distribution samples, NeurIPS
2018) without classes. Directions beyond the widest share one variance, as in Tipping and Bishop's probabilistic PCA
(1999), so that a score costs a small part of a run of the network however many features it has.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.files import replacing


class DistributionInvalid(ValueError):
    """A stored distribution that cannot be used."""


@dataclass(frozen=True)
class FeatureDistribution:
    """The distribution of features of training images, and the distance up to which an image is usual.

    `center` (D,) and `directions` (D, R) orthonormal; `variances` (R,) along them, `remainder` along every other;
    `cut` the distance beyond which an image is unlike the training images. All float64.
    """

    center: NDArray[np.float64]
    directions: NDArray[np.float64]
    variances: NDArray[np.float64]
    remainder: float
    cut: float

    @property
    def features(self) -> int:
        return len(self.center)

    def distances(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Float64 (N,) of features (N, D): about 1 for a training image, whatever D is."""
        apart = features.astype(np.float64) - self.center
        along = apart @ self.directions
        within = np.square(along) @ (1 / self.variances - 1 / self.remainder)
        squared = within + np.square(apart).sum(axis=1) / self.remainder
        distances: NDArray[np.float64] = np.sqrt(np.maximum(squared, 0) / self.features)
        return distances

    def score(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """The distances as shares of the cut, float64 (N,): above 1 is unlike the training images."""
        return self.distances(features) / self.cut

    def save(self, path: Path) -> None:
        """An npz file of plain arrays."""
        with replacing(path) as beside, beside.open("wb") as file:
            arrays: dict[str, Any] = {name: np.asarray(value) for name, value in asdict(self).items()}
            np.savez(file, **arrays)


def load_distribution(path: Path) -> FeatureDistribution:
    """Reads what `save` wrote, never running code in the file. Raises `DistributionInvalid`."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name].astype(np.float64) for name in stored.files}
        remainder, cut = float(arrays.pop("remainder")), float(arrays.pop("cut"))
        distribution = FeatureDistribution(**arrays, remainder=remainder, cut=cut)
        _refuse_unusable(distribution)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DistributionInvalid(
            f"{path.name} cannot be used ({error}); restore the bundle or train it again"
        ) from error
    return distribution


def _refuse_unusable(distribution: FeatureDistribution) -> None:
    if distribution.directions.shape != (distribution.features, len(distribution.variances)):
        raise ValueError(f"{distribution.directions.shape} directions for {distribution.features} features")
    if not all(np.isfinite(part).all() for part in (distribution.center, distribution.directions)):
        raise ValueError("a value is not finite")
    scales = np.array([*distribution.variances, distribution.remainder, distribution.cut])
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise ValueError("a variance or the cut is not positive")
