"""The trained network as ONNX, and the check that it gives the same probabilities as the original."""

import logging
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import onnx
import tf2onnx
from keras import layers
from numpy.typing import NDArray

from models_store.contract.records import Parity
from models_store.datasets.labels import malignant_of
from models_store.scoring.probability_calibration import ProbabilityCalibration
from models_store.scoring.scorer import Scorer
from workers.pipeline.backend import FEATURES_NAME, INPUT_NAME, OUTPUT_NAME, frozen_graph, predict
from workers.pipeline.data import scaled
from workers.pipeline.serving_graph import save, serving_graph, views_of

# Beyond this the conversion is wrong; rounding of float32 alone has reached 1.5e-5.
MAX_DIFFERENCE = 1e-3
# A decision may differ where the probability is this close to the threshold; a larger difference is a warning.
MAX_ROUNDING = 1e-5
PARITY_IMAGES = 256
# The newest operator set tf2onnx 1.17 writes.
OPSET = 18


log = logging.getLogger(__name__)


class ExportNotFaithful(RuntimeError):
    """The exported network does not give the probabilities of the one it was made from."""


def onnx_network(model: keras.Model) -> onnx.ModelProto:
    """`model` as ONNX: `image` float32 (N, S, S, 3) in [0, 1] to `probabilities` (N, K) and `features` (N, D), N free.

    Needs the TensorFlow backend. The graph is frozen first: converting the function directly loses the inputs of
    EfficientNetB0's Normalization.
    """
    graph = frozen_graph(with_features(model))
    network, _ = tf2onnx.convert.from_graph_def(
        graph.graph_def,
        input_names=[graph.input_tensor],
        output_names=[graph.output_tensor, graph.features_tensor],
        tensors_to_rename={
            graph.input_tensor: INPUT_NAME,
            graph.output_tensor: OUTPUT_NAME,
            graph.features_tensor: FEATURES_NAME,
        },
        opset=OPSET,
    )
    return network


def export_onnx(model: keras.Model, path: Path) -> None:
    """Writes the serving graph of one network whose probabilities are not calibrated yet."""
    save(serving_graph([onnx_network(model)], ProbabilityCalibration()), path)


def check_parity(
    models: Sequence[keras.Model],
    onnx_path: Path,
    images: NDArray[np.uint8],
    threshold: float,
    *,
    calibration: ProbabilityCalibration | None = None,
    views: int = 1,
) -> Parity:
    """Compares the serving graph with the networks in it on `images` (N, S, S, 3).

    Malignant is a calibrated probability of at least `threshold`. Raises ExportNotFaithful if a probability differs by
    more than 1e-3, or a decision by more than rounding explains; logs the `parity_warning`. Needs
    `PARITY_IMAGES` images.
    """
    expected = (calibration or ProbabilityCalibration())(averaged_probabilities(models, images, views))
    answered = Scorer(onnx_path)(images)
    difference = float(np.max(np.abs(expected - answered)))
    differ = (expected >= threshold) != (answered >= threshold)
    beyond_rounding = differ & (np.abs(expected - threshold) > MAX_ROUNDING)
    # Written so that a NaN, which compares as false, is refused too.
    if not (difference <= MAX_DIFFERENCE and not beyond_rounding.any()):
        raise ExportNotFaithful(
            f"{onnx_path.name} differs from {models[0].name} by up to {difference:.2e} (allowed "
            f"{MAX_DIFFERENCE:.0e}) and in {int(differ.sum())} of {len(images)} decisions at the threshold "
            f"{threshold:.4f}; the model is not packaged: export it again, and report it if it stays"
        )
    parity = Parity(max_abs_difference=difference, images=len(images), decisions_differ=int(differ.sum()))
    if warning := parity_warning(parity):
        log.warning("%s: %s", onnx_path.name, warning)
    return parity


def parity_warning(parity: Parity) -> str | None:
    """A sentence about a difference beyond the usual rounding of float32, which is no reason to refuse; else None."""
    if parity.max_abs_difference <= MAX_ROUNDING:
        return None
    return (
        "the probabilities of the exported network differ from those of the trained one by up to "
        f"{parity.max_abs_difference:.1e}; threshold and figures are those of the exported network"
    )


def averaged_probabilities(models: Sequence[keras.Model], images: NDArray[np.uint8], views: int) -> NDArray[np.float64]:
    """Probability of malignant, float64 (N,), averaged over the views of each image and over the networks."""
    seen = views_of(images, views)
    answers = [malignant_of(predict(model, scaled(view))) for model in models for view in seen]
    averaged: NDArray[np.float64] = np.mean(answers, axis=0, dtype=np.float64)
    return averaged


POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)


def with_features(model: keras.Model) -> keras.Model:
    """`model` with two outputs: its probabilities, and its features, float32 (N, D).

    A network without pooling layers is described by what goes into its last layer.
    """
    means = [mean for layer in model.layers if (mean := _channel_means(layer)) is not None]
    features = means or [layers.Flatten()(model.layers[-1].input)]
    joined = layers.Concatenate()(features) if len(features) > 1 else features[0]
    return keras.Model(model.inputs[0], [model.outputs[0], joined])


def _channel_means(layer: keras.Layer) -> keras.KerasTensor | None:
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return layer.output
    return layers.GlobalAveragePooling2D()(layer.output) if isinstance(layer, POOLINGS) else None
