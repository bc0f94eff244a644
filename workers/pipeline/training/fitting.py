"""One epoch of one network, with its augmentation and its randomness. Pure Keras: it runs on TensorFlow and JAX."""

from collections.abc import Mapping

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from models_store.datasets.layout import Split

PREDICTION_BATCH = 256


def trainer_of(model: keras.Model, learning_rate: float) -> keras.Model:
    """`model` behind scaling and augmentation, compiled with Adam; input uint8 (N, S, S, 3), weights shared.

    Recall of a 2-class softmax is accuracy unless it names its class, so every metric does.
    """
    trainer = keras.Sequential(
        [keras.Input(model.input_shape[1:], dtype="uint8"), keras.layers.Rescaling(1 / 255), *augmentation(), model]
    )
    trainer.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss="categorical_crossentropy",
        metrics=[
            keras.metrics.Recall(class_id=1, name="recall"),
            keras.metrics.Recall(class_id=0, name="specificity"),
            keras.metrics.Precision(class_id=1, name="precision"),
            keras.metrics.AUC(multi_label=True, num_labels=2, label_weights=[0.0, 1.0], name="auc"),
        ],
        # XLA takes 25 s for an epoch of CNN_v1 on two cores and TensorFlow's own kernels 5 s; JAX knows only XLA.
        jit_compile=keras.config.backend() == "jax",
    )
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def fit_epoch(
    trainer: keras.Model,
    train: Split,
    batch_size: int,
    class_weight: Mapping[int, float] | None,
    seed: int,
    number: int,
) -> dict[str, float]:
    """Pass once over `train` in the order, and with the dropout and augmentation, of `seed` and epoch `number`.

    Returns loss, recall, specificity, precision and auc on the augmented images; the loss is class-weighted.
    """
    reseed(trainer, seed, number)
    order = shuffled(len(train.labels), seed, number)
    one_hot = np.eye(2, dtype=np.float32)[train.malignant]
    history = trainer.fit(
        train.images[order],
        one_hot[order],
        batch_size=batch_size,
        class_weight=dict(class_weight) if class_weight else None,
        shuffle=False,
        verbose=0,
    )
    return {name: float(values[0]) for name, values in history.history.items()}


def malignant_scores(trainer: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The probability of malignant for each of `images` (N, S, S, 3) as they are, not augmented; float64 (N,)."""
    probabilities: NDArray[np.float32] = trainer.predict(images, batch_size=PREDICTION_BATCH, verbose=0)
    return probabilities[:, 1].astype(np.float64)


ROTATION_DEGREES = 20
SHIFT = 0.15
ZOOM = 0.10


def augmentation() -> list[keras.Layer]:
    """Layers that flip, rotate, shift and zoom each image (N, S, S, 3) afresh when called with `training=True`.

    Inside the graph they cost nothing that shows: with and without them an epoch of CNN_v1 on 7,007 images of 28x28
    takes 5.2 s on two cores.
    """
    changes = [
        layers.RandomFlip("horizontal_and_vertical"),
        layers.RandomRotation(ROTATION_DEGREES / 360),
        layers.RandomTranslation(SHIFT, SHIFT),
        layers.RandomZoom(ZOOM),
    ]
    for layer in changes:
        # XLA lacks the kernel these layers use in TensorFlow, so Keras rules compilation out on every backend. JAX does
        # compile them, and without it would run the whole network operation by operation.
        layer.supports_jit = keras.config.backend() == "jax"
    return changes


# TensorFlow keeps seeds as int64 and draws with int32; JAX keeps uint32. Below 2^31 both agree.
SEED_LIMIT = 2**31


def reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Set the state of every dropout and augmentation layer of `model` from `seed` and `epoch`."""
    for position, state in enumerate(_seed_states(model)):
        words = np.random.SeedSequence([seed, epoch, position]).generate_state(2)
        state.assign((words % SEED_LIMIT).astype(state.dtype))


def shuffled(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch visits `images` images; int64 (N,)."""
    return np.random.default_rng([seed, epoch]).permutation(images)


def _seed_states(model: keras.Model) -> list[keras.Variable]:
    """`variables` are the weights and the seeds, in the order of the layers; the weights are taken out."""
    weights = {id(weight) for weight in model.weights}
    return [variable for variable in model.variables if id(variable) not in weights]
