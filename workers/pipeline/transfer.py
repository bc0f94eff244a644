"""Transfer learning: upsample → preprocess → ImageNet base → global average pool → head of two classes."""

from pathlib import Path

import keras
from keras import layers

from models_store.catalog import Base, TransferModel, Unfreeze
from workers.pipeline.backend import INPUT_NAME, OUTPUT_NAME
from workers.pipeline.freezing import train_only_top
from workers.pipeline.preprocessing import preprocess
from workers.pipeline.weights import load_base_weights

UPSAMPLING = 2
SMALLEST_BASE_INPUT = 32


@keras.saving.register_keras_serializable("dermatriage")
class InferenceMode(keras.layers.Wrapper):  # type: ignore[misc]
    """Runs the layer it wraps in inference mode, also while the network around it trains.

    `base(x, training=False)` does not last: when a functional model is called with `training=True`, Keras 3.15 hands
    that on to every layer inside, and the unfrozen BatchNormalization of a partly frozen base starts to move.
    """

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        return self.layer(inputs, training=False)


def transfer_model(
    architecture: TransferModel, image_size: int, dropout: float, unfreeze: Unfreeze, base_weights: Path | None
) -> keras.Model:
    """Uncompiled network; float32 (N, S, S, 3) in [0, 1] → probabilities (N, 2).

    The top `unfreeze` layers of the base train. Unless all do, the base runs in inference mode, so that its
    BatchNormalization keeps the statistics of ImageNet. `base_weights` None leaves the base random. Raises ValueError
    for images too small for the base, and WeightsUnavailable for a file that does not fit it.
    """
    base_size = UPSAMPLING * image_size
    if base_size < SMALLEST_BASE_INPUT:
        raise ValueError(
            f"{architecture.base} needs {SMALLEST_BASE_INPUT}x{SMALLEST_BASE_INPUT} pixels and a "
            f"{image_size}x{image_size} image is upsampled to {base_size}x{base_size}; "
            f"use images of at least {SMALLEST_BASE_INPUT // UPSAMPLING}x{SMALLEST_BASE_INPUT // UPSAMPLING}"
        )
    base = imagenet_base(architecture.base, base_size, base_weights)
    train_only_top(base.layers, unfreeze)

    inputs = keras.Input((image_size, image_size, 3), name=INPUT_NAME)
    x = layers.UpSampling2D(UPSAMPLING, name="upsampling")(inputs)
    x = preprocess(x, architecture.base)
    x = base(x) if unfreeze == "all" else InferenceMode(base, name=f"{base.name}_in_inference_mode")(x)
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    x = layers.Dropout(dropout, name="dropout_pooled")(x)
    x = layers.Dense(architecture.dense, name="dense")(x)
    x = layers.BatchNormalization(name="normalization")(x)
    x = layers.Activation("relu", name="relu")(x)
    x = layers.Dropout(dropout, name="dropout_dense")(x)
    outputs = layers.Dense(2, activation="softmax", name=OUTPUT_NAME)(x)
    return keras.Model(inputs, outputs, name=architecture.name)


def base_of(model: keras.Model) -> keras.Model:
    """The ImageNet base inside a network that `transfer_model` made. Raises ValueError if there is none."""
    for layer in model.layers:
        inner = layer.layer if isinstance(layer, InferenceMode) else layer
        if isinstance(inner, keras.Model):
            return inner
    raise ValueError(f"{model.name} has no ImageNet base; only the transfer models have one")


def imagenet_base(base: Base, image_size: int, weights: Path | None) -> keras.Model:
    """The convolutional part of `base` for (N, S, S, 3), with the weights of the file or, for None, random ones."""
    build = getattr(keras.applications, base)
    model = build(include_top=False, weights=None, input_shape=(image_size, image_size, 3), name=base.lower())
    if weights is not None:
        load_base_weights(model, base, weights)
    return model
