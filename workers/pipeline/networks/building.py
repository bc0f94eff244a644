"""Build the network of a trial, read a saved one, and start one from another's checkpoint."""

from pathlib import Path

import keras

from models_store.contract.catalog import ARCHITECTURES, CustomCNN, TransferModel
from models_store.contract.recipes import RECIPES
from models_store.contract.specs import TrialSpec
from workers.pipeline.networks.architectures import custom_cnn, train_only_top, transfer_model
from workers.pipeline.networks.conv_net import conv_net
from workers.pipeline.training.targets import outputs_of


class CheckpointMismatch(ValueError):
    """A checkpoint belongs to another network."""


def build_model(spec: TrialSpec, image_size: int, *, base_weights: Path | None, seed: int) -> keras.Model:
    """The uncompiled network of a trial; the same arguments give the same initial weights and dropout masks.

    Input `image`: float32 (N, S, S, 3) in [0, 1]. Output `probabilities`: float32, softmax; (N, 2), index 1
    malignant, or (N, 7) in the order of `CLASS_NAMES`, as the recipe has it.
    The spec's `dropout` and `unfreeze` replace those of the catalogue. `unfreeze` counts layers from the top: of the
    base for a transfer model, of the whole network (its input included) for any other. `base_weights` is the file
    that `locate_base_weights` found, or None for a random base. Reseeds Python, NumPy and Keras with `seed`, which is
    how the layers of keras.applications get their seeds.
    """
    keras.utils.set_random_seed(seed)
    architecture, outputs = ARCHITECTURES[spec.architecture], outputs_of(RECIPES[spec.recipe].target)
    if isinstance(architecture, TransferModel):
        return transfer_model(
            architecture, image_size, spec.input_size, spec.dropout, spec.unfreeze, base_weights, outputs
        )
    if isinstance(architecture, CustomCNN):
        model = custom_cnn(architecture, image_size, spec.dropout, outputs)
    else:
        model = conv_net(architecture, image_size, spec.dropout, outputs)
    train_only_top(model.layers, spec.unfreeze)
    return model


def load_model(path: Path) -> keras.Model:
    """The network saved at `path` (`.keras`), uncompiled, never running code in the file (`safe_mode`)."""
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def load_weights_from(model: keras.Model, checkpoint: Path) -> None:
    """Copy the weights of the `.keras` checkpoint into `model`, which has the same layers but maybe other dropout.

    Which layers train stays as `model` has it. Raises CheckpointMismatch.
    """
    source = load_model(checkpoint)
    # Keras' own load_weights matches by position and only warns about layers that it leaves random.
    if [weight.shape for weight in source.weights] != [weight.shape for weight in model.weights]:
        raise CheckpointMismatch(
            f"{checkpoint} holds the weights of {source.name}, which do not fit {model.name} for images of "
            f"{model.input_shape[1]}x{model.input_shape[2]}; start from a checkpoint of the same architecture and "
            "image size"
        )
    model.load_weights(checkpoint)
