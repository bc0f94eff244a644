"""The optimizer of a recipe. Its state holds the step count, from which a resumed run gets its learning rate."""

import keras

from models_store.contract.recipes import Recipe


def optimizer_of(recipe: Recipe, learning_rate: float, steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    """An unbuilt optimizer for a training of `steps` steps in all, whose highest learning rate is `learning_rate`."""
    rate = learning_rate if recipe.learning_rate == "constant" else warm_up_and_cosine(recipe, learning_rate, steps)
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.weight_decay)
    # Biases and the scales and offsets of normalisation have one dimension.
    without_decay = [weight for weight in model.trainable_variables if len(weight.shape) <= 1]
    optimizer.exclude_from_weight_decay(var_list=without_decay)
    return optimizer


def warm_up_and_cosine(
    recipe: Recipe, learning_rate: float, steps: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """From zero to `learning_rate` in a straight line, then to zero at step `steps` along a cosine.

    Loshchilov and Hutter, "SGDR", ICLR 2017; without restarts.
    """
    warm_up = int(recipe.warm_up * steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, decay_steps=max(1, steps - warm_up), warmup_target=learning_rate, warmup_steps=warm_up
    )
