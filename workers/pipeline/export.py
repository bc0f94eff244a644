"""The trained network as ONNX, which is what serves, and the proof that it answers like the original."""

from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import tf2onnx
from keras import layers
from numpy.typing import NDArray

from models_store.contract.records import Parity
from models_store.datasets.labels import malignant_of
from workers.pipeline.backend import FEATURES_NAME, INPUT_NAME, OUTPUT_NAME, frozen_graph

LARGEST_DIFFERENCE = 1e-5
PARITY_IMAGES = 256
# The newest operator set tf2onnx 1.17 writes.
OPSET = 18


class ExportNotFaithful(RuntimeError):
    """The exported network does not answer like the one it was made from."""


def export_onnx(model: keras.Model, path: Path) -> None:
    """Write `model` to `path` as ONNX: `image` (N, S, S, 3) to `probabilities` (N, 2 or 7) and `features` (N, D).

    N is free. Needs the TensorFlow backend. The graph is frozen first: converting the function directly loses the
    inputs of EfficientNetB0's Normalization. The file appears whole or not at all. Raises onnx.checker.ValidationError.
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
    onnx.checker.check_model(network, full_check=True)
    partial = path.with_name(f"{path.name}.partial")
    onnx.save(network, partial)
    partial.replace(path)


def check_parity(model: keras.Model, onnx_path: Path, images: NDArray[np.float32], threshold: float) -> Parity:
    """Compare both networks on `images` (N, S, S, 3) in [0, 1]; malignant is a probability of at least `threshold`.

    Raises ExportNotFaithful if a probability differs by more than 1e-5 or any decision differs. Give it
    `PARITY_IMAGES` images.
    """
    expected = malignant_of(model.predict(images, verbose=0))
    answered = onnx_probabilities(onnx_path, images)
    difference = float(np.max(np.abs(expected - answered)))
    decisions = int(np.sum((expected >= threshold) != (answered >= threshold)))
    # Written so that a NaN, which compares as false, is refused too.
    if not (difference <= LARGEST_DIFFERENCE and decisions == 0):
        raise ExportNotFaithful(
            f"{onnx_path.name} differs from {model.name} by up to {difference:.2e} (allowed {LARGEST_DIFFERENCE:.0e}) "
            f"and in {decisions} of {len(images)} decisions at the threshold {threshold:.4f}; the model is not "
            "packaged: export it again, and report it if it stays"
        )
    return Parity(max_abs_difference=difference, images=len(images), decisions_differ=decisions)


def onnx_probabilities(onnx_path: Path, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability of malignant, float32 (N,), of every image (N, S, S, 3) in [0, 1]."""
    session = onnxruntime.InferenceSession(onnx_path, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run([OUTPUT_NAME], {INPUT_NAME: images})
    return np.asarray(malignant_of(probabilities), dtype=np.float32)


POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)


def with_features(model: keras.Model) -> keras.Model:
    """`model` with two outputs: what it gave before, and its features, float32 (N, D).

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
