"""The custom CNN: [Conv2D → BatchNorm → MaxPool → Dropout] × depth → Flatten → Dense → Dropout → Softmax."""

import keras
from keras import layers

from models_store.catalog import CustomCNN
from workers.pipeline.backend import INPUT_NAME, OUTPUT_NAME


def custom_cnn(architecture: CustomCNN, image_size: int, dropout: float) -> keras.Model:
    """Uncompiled network with every layer trainable; float32 (N, S, S, 3) in [0, 1] → probabilities (N, 2).

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
        x = layers.BatchNormalization(name=f"normalization_{number}")(x)
        x = layers.MaxPooling2D(name=f"pooling_{number}")(x)
        x = layers.Dropout(rate, name=f"dropout_{number}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(architecture.dense, activation="relu", name="dense")(x)
    x = layers.Dropout(dense_rate, name="dropout_dense")(x)
    outputs = layers.Dense(2, activation="softmax", name=OUTPUT_NAME)(x)
    return keras.Model(inputs, outputs, name=architecture.name)


def dropout_ramp(dropout: float, depth: int) -> tuple[float, ...]:
    """The rates of `depth` blocks and of the dense layer: equal steps from the first block up to `dropout` at the end.

    The catalogued rate is thus the dense layer's, where most weights are; a block i of d has dropout · i / (d + 1).
    """
    return tuple(dropout * step / (depth + 1) for step in range(1, depth + 2))
