"""Which layers of a network train."""

from collections.abc import Sequence

import keras

from models_store.catalog import Unfreeze


def train_only_top(layers: Sequence[keras.Layer], unfreeze: Unfreeze) -> None:
    """Leave the last `unfreeze` of `layers` trainable and freeze the others; more than there are, or "all", is all.

    A frozen BatchNormalization runs in inference mode: it neither updates nor uses the batch's statistics
    (https://keras.io/api/layers/normalization_layers/batch_normalization/).
    """
    if unfreeze == "all":
        return
    for layer in layers[: max(0, len(layers) - unfreeze)]:
        layer.trainable = False
