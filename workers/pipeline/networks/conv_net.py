"""A small network from random weights: two convolutions a block, and an average in place of a dense layer."""

import keras
from keras import layers

from models_store.contract.catalog import ConvNet, input_size_of
from workers.pipeline.backend import INPUT_NAME, OUTPUT_NAME
from workers.pipeline.networks.batch_normalization import BatchNormalization
from workers.pipeline.networks.resizing import Resized


def conv_net(architecture: ConvNet, image_size: int, dropout: float, outputs: int) -> keras.Model:
    """Uncompiled network with every layer trainable; float32 (N, S, S, 3) in [0, 1] → probabilities (N, `outputs`).

    Images larger than `MAX_OF_A_SMALL_NETWORK` are resized to it. Raises ValueError if the poolings leave nothing of
    the image.
    """
    size = input_size_of(architecture.name, None, image_size)
    smallest = 2 ** len(architecture.filters)
    if size < smallest:
        raise ValueError(
            f"{architecture.name} halves its input {len(architecture.filters)} times, which a {size}x{size} image does "
            f"not survive; use images of at least {smallest}x{smallest}"
        )
    inputs = keras.Input((image_size, image_size, 3), name=INPUT_NAME)
    x = inputs if size == image_size else Resized(size, name="resized")(inputs)
    for number, filters in enumerate(architecture.filters, start=1):
        for half in ("a", "b"):
            x = _convolution(x, filters, f"{number}{half}")
        x = layers.MaxPooling2D(name=f"pooling_{number}")(x)
    x = layers.GlobalAveragePooling2D(name="pooling")(x)
    x = layers.Dropout(dropout, name="dropout")(x)
    probabilities = layers.Dense(outputs, activation="softmax", name=OUTPUT_NAME)(x)
    return keras.Model(inputs, probabilities, name=architecture.name)


def _convolution(x: keras.KerasTensor, filters: int, number: str) -> keras.KerasTensor:
    # The normalisation has an offset of its own.
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"convolution_{number}")(x)
    x = BatchNormalization(name=f"normalization_{number}")(x)
    return layers.Activation("relu", name=f"relu_{number}")(x)
