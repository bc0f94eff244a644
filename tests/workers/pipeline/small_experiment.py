"""An experiment small enough to train in a test: 96 images of 8x8 in which malignant ones are darker on average."""

import keras
import numpy as np
from keras import layers

from models_store.contract.specs import SelectionSpec
from models_store.datasets.layout import Split
from models_store.experiment.selection import Policy, policy_for
from workers.pipeline.data import ExperimentData
from workers.pipeline.training.training import Schedule

MELANOMA, NEVUS = 4, 5

# TensorFlow's variables lack NumPy 2's `copy` argument, which Keras uses when it saves them.
NUMPY_COPY = "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning"


def small_split(images: int = 96, seed: int = 0, lesion_ids: list[str] | None = None) -> Split:
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(images) % 3 == 0, MELANOMA, NEVUS).astype(np.int64)
    brightness = np.where(labels == MELANOMA, 100, 150)[:, None, None, None]
    pixels = np.clip(rng.normal(brightness, 60, (images, 8, 8, 3)), 0, 255).astype(np.uint8)
    return Split(pixels, labels, None if lesion_ids is None else np.array(lesion_ids))


def small_data() -> ExperimentData:
    selection = small_split(60, seed=1)
    return ExperimentData(small_split(), selection, small_split(60, seed=2), 8, False, None, None)


def small_model(seed: int = 3) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(8, activation="relu")(x)
    x = layers.Dropout(0.3)(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x))


def still_model() -> keras.Model:
    """A network that stays as it is at a tiny learning rate: its normalisation gathers no statistics."""
    model = small_model()
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    return model


def schedule(**changes: object) -> Schedule:
    defaults = {
        "epochs": 4,
        "patience": 4,
        "batch_size": 40,  # leaves a smaller last batch
        "learning_rate": 0.01,
        "class_weight": {0: 1.0, 1: 3.0},
        "seed": 11,
    }
    return Schedule(**(defaults | changes))  # type: ignore[arg-type]


def unguarded() -> Policy:
    return policy_for(SelectionSpec(policy="val_recall_unguarded"))
