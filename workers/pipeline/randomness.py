"""Randomness as a function of the seed and the epoch, so that an epoch repeats itself wherever it is run."""

import keras
import numpy as np
from numpy.typing import NDArray

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
