"""From images to probabilities, in the same way for evaluation and serving."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models_store.datasets.labels import CLASS_NAMES
from models_store.scoring.out_of_distribution import FeatureDistribution
from models_store.scoring.probability_calibration import ProbabilityCalibration

# An ensemble with eight views used 5.8 GB for 256 images of 64 pixels in one run, and 0.5 GB in runs of this many
# pixels, which took as long.
PIXELS_AT_ONCE = 64 * 28 * 28
IMAGE, PROBABILITY, FEATURES, DIAGNOSES = "image", "probability_malignant", "features", "diagnoses"
# Older graphs take float32 in [0, 1] and give `probabilities` (N, 2) that are not calibrated yet.
OLDER_PROBABILITY = "probabilities"


class ImagesRefused(ValueError):
    """An array that the model cannot take."""


class Scores(NamedTuple):
    """The answers of one run for N images.

    `probabilities` of malignant, float64 (N,). `unlikeness`, the out-of-distribution scores, float64 (N,): above 1 is
    out of distribution, None without a distribution. `diagnoses`, the probabilities of the seven diagnoses in the order
    of `CLASS_NAMES`, float64 (N, 7): the malignant ones sum to the probability of malignant, None if the graph gives
    none.
    """

    probabilities: NDArray[np.float64]
    unlikeness: NDArray[np.float64] | None
    diagnoses: NDArray[np.float64] | None


class Scorer:
    """An ONNX classifier that answers with calibrated probabilities of malignant.

    The graph takes `image` uint8 (N, S, S, 3) and gives `probability_malignant` float32 (N,), `features` float32 (N, D)
    and, where its networks predict diagnoses, `diagnoses` float32 (N, 7). An older graph gives probabilities that
    `calibration` maps to calibrated ones. `distribution` is that of the training images' features; without it there
    are no out-of-distribution scores. Raises ValueError for a graph of another kind.
    """

    def __init__(
        self,
        onnx: Path | bytes,
        calibration: ProbabilityCalibration | None = None,
        *,
        distribution: FeatureDistribution | None = None,
        intra_op_threads: int = 1,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = intra_op_threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            onnx if isinstance(onnx, bytes) else str(onnx), options, providers=["CPUExecutionProvider"]
        )
        self.input_size = _input_size(self.session)
        self.is_older = self.session.get_inputs()[0].type == "tensor(float)"
        self.has_diagnoses = _gives_diagnoses(self.session)
        self._calibration = (calibration if self.is_older else None) or ProbabilityCalibration()
        self._probability = OLDER_PROBABILITY if self.is_older else PROBABILITY
        self.distribution = distribution
        if distribution is not None:
            _require_features(self.session, distribution.features)

    @property
    def images_at_once(self) -> int:
        """How many images share one run of the graph: fewer where they are larger, because memory grows with both."""
        return max(1, PIXELS_AT_ONCE // self.input_size**2)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probability of malignant, float64 (N,), of images uint8 (N, S, S, 3); raises `ImagesRefused` for others."""
        (answered,) = self._run(images, self._probability)
        return self._calibrated(answered)

    def judge(self, images: NDArray[np.uint8]) -> Scores:
        """Every answer of the model for the images, from one run."""
        names = [self._probability]
        names += [FEATURES] if self.distribution else []
        names += [DIAGNOSES] if self.has_diagnoses else []
        outputs = dict(zip(names, self._run(images, *names), strict=True))
        return Scores(
            probabilities=self._calibrated(outputs[self._probability]),
            unlikeness=self.distribution.score(outputs[FEATURES]) if self.distribution else None,
            diagnoses=outputs[DIAGNOSES].astype(np.float64) if self.has_diagnoses else None,
        )

    def _calibrated(self, answered: NDArray[np.float32]) -> NDArray[np.float64]:
        malignant = answered[:, 1] if self.is_older else answered
        return self._calibration(malignant.astype(np.float64))

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The features of the images, float32 (N, D)."""
        (features,) = self._run(images, FEATURES)
        return features

    def _run(self, images: NDArray[np.uint8], *outputs: str) -> list[NDArray[np.float32]]:
        """The named outputs, each (N, …), computed in chunks."""
        self._refuse_wrong(images)
        if len(images) == 0:  # not every operator accepts an empty batch
            return [output[:0] for output in self._run(np.zeros((1, *images.shape[1:]), np.uint8), *outputs)]
        chunks = [
            self.session.run(list(outputs), {IMAGE: self._as_taken(images[start : start + self.images_at_once])})
            for start in range(0, len(images), self.images_at_once)
        ]
        return chunks[0] if len(chunks) == 1 else [np.concatenate(parts) for parts in zip(*chunks, strict=True)]

    def _as_taken(self, images: NDArray[np.uint8]) -> NDArray[np.uint8 | np.float32]:
        return images.astype(np.float32) / np.float32(255) if self.is_older else images

    def _refuse_wrong(self, images: NDArray[np.uint8]) -> None:
        size = self.input_size
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
            raise ImagesRefused(
                f"the model takes uint8 images of the shape (N, {size}, {size}, 3), not {images.dtype} {images.shape}; "
                "crop to a square, resize and keep the values 0 to 255"
            )


def _input_size(session: onnxruntime.InferenceSession) -> int:
    inputs = {node.name: list(node.shape) for node in session.get_inputs()}
    outputs = {node.name: list(node.shape) for node in session.get_outputs()}
    shape = inputs.get("image", [])
    fits = list(inputs) == [IMAGE] and len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3
    answers = len(outputs.get(PROBABILITY, [])) == 1 or outputs.get(OLDER_PROBABILITY, [0])[-1] == 2
    if not fits or not isinstance(shape[1], int) or not answers:
        raise ValueError(
            f"the ONNX graph has inputs {inputs} and outputs {outputs}; it needs `image` (N, S, S, 3) with a fixed S "
            f"and `{PROBABILITY}` (N,); export it again"
        )
    return shape[1]


def _gives_diagnoses(session: onnxruntime.InferenceSession) -> bool:
    found = {node.name: list(node.shape) for node in session.get_outputs()}.get(DIAGNOSES)
    if found is not None and found[1:] != [len(CLASS_NAMES)]:
        raise ValueError(
            f"the ONNX graph gives diagnoses of the shape {found}, not of {len(CLASS_NAMES)} an image; export it again"
        )
    return found is not None


def _require_features(session: onnxruntime.InferenceSession, number: int) -> None:
    found = {node.name: list(node.shape) for node in session.get_outputs()}.get(FEATURES)
    if found is None or len(found) != 2 or found[1] != number:
        raise ValueError(
            f"the ONNX graph has the features {found}, and the distribution of training images has {number}; they "
            "do not belong together: export it again"
        )
