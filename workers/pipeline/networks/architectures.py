"""The networks of the catalogue: custom CNNs, and ImageNet bases with a new head."""

from collections.abc import Sequence
from pathlib import Path

import keras
from keras import layers

from models_store.contract.catalog import (
    RESIZING,
    UPSAMPLING,
    Base,
    CustomCNN,
    TransferModel,
    Unfreeze,
    input_size_of,
)
from workers.pipeline.backend import INPUT_NAME, OUTPUT_NAME
from workers.pipeline.networks.batch_normalization import BatchNormalization
from workers.pipeline.networks.efficientnet_lite import efficientnet_lite0
from workers.pipeline.networks.imagenet_weights import load_base_weights, load_lite_weights
from workers.pipeline.networks.resizing import Resized


def custom_cnn(architecture: CustomCNN, image_size: int, dropout: float, outputs: int = 2) -> keras.Model:
    """Uncompiled network with every layer trainable; float32 (N, S, S, 3) in [0, 1] → probabilities (N, `outputs`).

    Filters double in each block. Dropout follows `dropout_ramp`. Raises ValueError if `depth` poolings leave nothing
    of the image.
    """
    if image_size < 2**architecture.depth:
        raise ValueError(
            f"{architecture.name} halves its input {architecture.depth} times, which a {image_size}x{image_size} image "
            f"does not survive; use images of at least {2**architecture.depth}x{2**architecture.depth}"
        )
    *block_rates, dense_rate = dropout_ramp(dropout, architecture.depth)
    inputs = keras.Input((image_size, image_size, 3), name=INPUT_NAME)
    x = inputs
    for block, rate in enumerate(block_rates):
        number = block + 1
        x = layers.Conv2D(
            architecture.filters * 2**block, 3, padding="same", activation="relu", name=f"convolution_{number}"
        )(x)
        x = BatchNormalization(name=f"normalization_{number}")(x)
        x = layers.MaxPooling2D(name=f"pooling_{number}")(x)
        x = layers.Dropout(rate, name=f"dropout_{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(architecture.dense, activation="relu", name="dense")(x)
    x = layers.Dropout(dense_rate, name="dropout_dense")(x)
    probabilities = layers.Dense(outputs, activation="softmax", name=OUTPUT_NAME)(x)
    return keras.Model(inputs, probabilities, name=architecture.name)


def dropout_ramp(dropout: float, depth: int) -> tuple[float, ...]:
    """The rates of `depth` blocks and of the dense layer: equal steps from the first block up to `dropout` at the end.

    The catalogued rate is thus the dense layer's, where most weights are; a block i of d has dropout · i / (d + 1).
    """
    return tuple(dropout * step / (depth + 1) for step in range(1, depth + 2))


MIN_BASE_INPUT = 32


@keras.saving.register_keras_serializable("dermatriage")
class InferenceMode(keras.layers.Wrapper):  # type: ignore[misc]
    """Runs the layer it wraps in inference mode, also while the network around it trains.

    `base(x, training=False)` does not last: when a functional model is called with `training=True`, Keras 3.15 passes
    that on to every layer inside, and the unfrozen BatchNormalization of a partly frozen base starts to move.
    """

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return self.layer(inputs, training=False)


def transfer_model(
    architecture: TransferModel,
    image_size: int,
    input_size: int | None,
    dropout: float,
    unfreeze: Unfreeze,
    base_weights: Path | None,
    outputs: int = 2,
) -> keras.Model:
    """Uncompiled network; float32 (N, S, S, 3) in [0, 1] → probabilities (N, `outputs`).

    The top `unfreeze` layers of the base train. Unless all do, the base runs in inference mode, so that its
    BatchNormalization keeps the statistics of ImageNet. `input_size` None is the architecture's own choice.
    `base_weights` None leaves the base random. Raises ValueError for images too small for the base, and
    WeightsUnavailable for a file that does not fit it.
    """
    base_size = input_size_of(architecture.name, input_size, image_size)
    _require_base_size(architecture.base, image_size, base_size)
    base = imagenet_base(architecture.base, base_size, base_weights)
    train_only_top(base.layers, unfreeze)

    inputs = keras.Input((image_size, image_size, 3), name=INPUT_NAME)
    x = _enlarged(inputs, architecture, base_size)
    x = preprocess(x, architecture.base)
    x = base(x) if unfreeze == "all" else InferenceMode(base, name=f"{base.name}_in_inference_mode")(x)
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    x = layers.Dropout(dropout, name="dropout_pooled")(x)
    if architecture.dense:
        x = layers.Dense(architecture.dense, name="dense")(x)
        x = layers.BatchNormalization(name="normalization")(x)
        x = layers.Activation("relu", name="relu")(x)
        x = layers.Dropout(dropout, name="dropout_dense")(x)
    probabilities = layers.Dense(outputs, activation="softmax", name=OUTPUT_NAME)(x)
    return keras.Model(inputs, probabilities, name=architecture.name)


def _require_base_size(base: Base, image_size: int, base_size: int) -> None:
    if base_size < MIN_BASE_INPUT:
        raise ValueError(
            f"{base} needs {MIN_BASE_INPUT}x{MIN_BASE_INPUT} pixels and a "
            f"{image_size}x{image_size} image is resized to {base_size}x{base_size}; "
            f"use images of at least {MIN_BASE_INPUT // UPSAMPLING}x{MIN_BASE_INPUT // UPSAMPLING}"
        )


def _enlarged(images: keras.KerasTensor, architecture: TransferModel, size: int) -> keras.KerasTensor:
    """Repeats each pixel, as in the study; a network with a free input size resizes smoothly."""
    if architecture.name not in RESIZING:
        return layers.UpSampling2D(UPSAMPLING, name="upsampling")(images)
    return images if images.shape[1] == size else Resized(size, name="resized")(images)


def imagenet_base(base: Base, image_size: int, weights: Path | None) -> keras.Model:
    """The convolutional part of `base` for (N, S, S, 3), with the weights of the file or, for None, random ones."""
    if base == "EfficientNetLite0":
        return _lite_base(image_size, weights)
    build = getattr(keras.applications, base)
    model = build(include_top=False, weights=None, input_shape=(image_size, image_size, 3), name=base.lower())
    if weights is not None:
        load_base_weights(model, base, weights)
    return model


def _lite_base(image_size: int, weights: Path | None) -> keras.Model:
    model = efficientnet_lite0(image_size)
    if weights is not None:
        load_lite_weights(model, weights)
    return model


# Channel means of ImageNet in the order blue, green, red, as keras.applications subtracts them for ResNet50 and VGG16.
BGR_MEAN = (103.939, 116.779, 123.68)
PREPROCESSED = "preprocessed"


def preprocess(images: keras.KerasTensor, base: Base) -> keras.KerasTensor:
    """Turn RGB in [0, 1], (N, S, S, 3), into the input of `base`; the last layer is named `preprocessed`.

    ResNet50 and VGG16 take BGR in 0-255 minus the ImageNet mean. EfficientNetB0 takes RGB in 0-255, which it rescales
    by itself; EfficientNetLite0 takes RGB from -1 to 1.
    """
    if base == "EfficientNetLite0":
        return layers.Rescaling(255 / 128, offset=-127 / 128, name=PREPROCESSED)(images)
    if base == "EfficientNetB0":
        return layers.Rescaling(255.0, name=PREPROCESSED)(images)
    bgr = keras.ops.take(images, [2, 1, 0], axis=-1)
    return layers.Rescaling(255.0, offset=[-mean for mean in BGR_MEAN], name=PREPROCESSED)(bgr)


def train_only_top(layers: Sequence[keras.Layer], unfreeze: Unfreeze) -> None:
    """Leave the last `unfreeze` of `layers` trainable and freeze the others; more than there are, or "all", is all.

    A frozen BatchNormalization runs in inference mode: it neither updates nor uses the batch's statistics
    (https://keras.io/api/layers/normalization_layers/batch_normalization/).
    """
    if unfreeze == "all":
        return
    for layer in layers[: max(0, len(layers) - unfreeze)]:
        layer.trainable = False
