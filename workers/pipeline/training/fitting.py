"""One epoch of one network, with its randomness. Pure Keras: it runs on TensorFlow and JAX."""

from collections.abc import Mapping

import keras
import numpy as np
from numpy.typing import NDArray

from models_store.contract.recipes import RECIPES, Recipe, Target
from models_store.datasets.labels import malignant_of
from models_store.datasets.layout import Split
from workers.pipeline.backend import batches, predict
from workers.pipeline.training.augmentation import augmentation
from workers.pipeline.training.optimizing import optimizer_of
from workers.pipeline.training.targets import class_weight_of, metrics_of, one_hot


def trainer_of(
    model: keras.Model, learning_rate: float, recipe: Recipe = RECIPES["classic"], steps: int = 1
) -> keras.Model:
    """`model` behind scaling and augmentation, compiled for `recipe`; input uint8 (N, S, S, 3), weights shared.

    `steps` counts those of the whole training, over which a learning rate that is not constant falls to zero.
    """
    changes = augmentation(recipe.augmentation)
    trainer = keras.Sequential(
        [keras.Input(model.input_shape[1:], dtype="uint8"), keras.layers.Rescaling(1 / 255), *changes, model]
    )
    trainer.compile(
        optimizer=optimizer_of(recipe, learning_rate, steps, model),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing),
        metrics=metrics_of(recipe.target),
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
    target: Target = "malignant",
) -> dict[str, float]:
    """Pass once over `train` in the order, and with the dropout and augmentation, of `seed` and epoch `number`.

    Returns loss, recall, specificity, precision and auc on the augmented images; the loss is class-weighted.
    """
    reseed(trainer, seed, number)
    order = shuffled(len(train.labels), seed, number)
    history = trainer.fit(
        **batches(train.images[order], batch_size, one_hot(train, target)[order]),
        class_weight=class_weight_of(class_weight, target),
        shuffle=False,
        verbose=0,
    )
    return {name: float(values[0]) for name, values in history.history.items()}


def malignant_scores(trainer: keras.Model, images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The probability of malignant for each of `images` (N, S, S, 3) as they are, not augmented; float64 (N,)."""
    return malignant_of(predict(trainer, images)).astype(np.float64)


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
