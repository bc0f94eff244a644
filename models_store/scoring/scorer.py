"""The one way from images to probabilities: evaluation and serving both go through it."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from models_store.datasets.labels import CLASS_NAMES, malignant_of
from models_store.scoring.out_of_distribution import FeatureDistribution
from models_store.scoring.probability_calibration import ProbabilityCalibration

CHUNK = 256
# Benign and malignant, or one column for each diagnosis.
WIDTHS = (2, len(CLASS_NAMES))


class ImagesRefused(ValueError):
    """An array that the model cannot take."""


class Scorer:
    """An ONNX classifier that answers with calibrated probabilities of malignant.

    The graph takes `image` float32 (N, S, S, 3) in [0, 1] and gives `probabilities` float32 (N, 2), benign first, or
    (N, 7), and `features` float32 (N, D), which older graphs lack. `distribution` is that of the training images'
    features; without it nothing is known of that. Raises ValueError for a graph of another kind.
    """

    def __init__(
        self,
        onnx: Path | bytes,
        calibration: ProbabilityCalibration | None = None,
        *,
        distribution: FeatureDistribution | None = None,
        intra_op_threads: int = 1,
    ) -> None:
        self.calibration = calibration or ProbabilityCalibration()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = intra_op_threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            onnx if isinstance(onnx, bytes) else str(onnx), options, providers=["CPUExecutionProvider"]
        )
        self.input_size = _input_size(self.session)
        self.distribution = distribution
        if distribution is not None:
            _require_features(self.session, distribution.features)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probability of malignant, float64 (N,), of images uint8 (N, S, S, 3); raises `ImagesRefused` for others."""
        return self.calibration(self.raw(images))

    def judge(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """The probabilities and, from the same run, the out-of-distribution scores (above 1: out of distribution).

        The scores are None without a distribution.
        """
        if self.distribution is None:
            return self(images), None
        probabilities, features = self._run(images, "probabilities", "features")
        return self.calibration(malignant_of(probabilities).astype(np.float64)), self.distribution.score(features)

    def raw(self, images: NDArray[np.uint8]) -> NDArray[np.float64]:
        """The network's own probability of malignant, before its calibration; float64 (N,)."""
        (probabilities,) = self._run(images, "probabilities")
        malignant: NDArray[np.float64] = malignant_of(probabilities).astype(np.float64)
        return malignant

    def features(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The features of the images, float32 (N, D)."""
        (features,) = self._run(images, "features")
        return features

    def _run(self, images: NDArray[np.uint8], *outputs: str) -> list[NDArray[np.float32]]:
        """The named outputs, each (N, …), computed in chunks."""
        self._refuse_wrong(images)
        if len(images) == 0:  # not every operator takes nothing
            return [output[:0] for output in self._run(np.zeros((1, *images.shape[1:]), np.uint8), *outputs)]
        chunks = [
            self.session.run(list(outputs), {"image": images[start : start + CHUNK].astype(np.float32) / 255})
            for start in range(0, len(images), CHUNK)
        ]
        return chunks[0] if len(chunks) == 1 else [np.concatenate(parts) for parts in zip(*chunks, strict=True)]

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
    fits = list(inputs) == ["image"] and len(shape) == 4 and shape[1] == shape[2] and shape[3] == 3
    if not fits or not isinstance(shape[1], int) or outputs.get("probabilities", [0])[-1] not in WIDTHS:
        raise ValueError(
            f"the ONNX graph has inputs {inputs} and outputs {outputs}; it needs `image` (N, S, S, 3) with a fixed S "
            "and `probabilities` (N, 2) or (N, 7); export it again"
        )
    return shape[1]


def _require_features(session: onnxruntime.InferenceSession, number: int) -> None:
    found = {node.name: list(node.shape) for node in session.get_outputs()}.get("features")
    if found is None or len(found) != 2 or found[1] != number:
        raise ValueError(
            f"the ONNX graph has the features {found}, and the distribution of training images has {number}; they "
            "do not belong together: export it again"
        )
