"""ImageNet weights come from the folder, Keras' cache or the download, and are never silently random."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from models_store.contract.catalog import Base
from workers.pipeline.networks import imagenet_weights
from workers.pipeline.networks.architectures import imagenet_base
from workers.pipeline.networks.imagenet_weights import WEIGHTS_FILES, WeightsUnavailable, locate_base_weights

# Keras 3.15 asks NumPy 2 for an array that TensorFlow's variables hand over in the older way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BASES: list[Base] = ["ResNet50", "VGG16", "EfficientNetB0"]


@pytest.fixture(autouse=True)
def _download_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for base, file in WEIGHTS_FILES.items():
        monkeypatch.setitem(imagenet_weights.WEIGHTS_FILES, base, replace(file, folder_url="http://127.0.0.1:9"))


@pytest.mark.parametrize(
    "base", [pytest.param(base, marks=() if base == "VGG16" else pytest.mark.slow) for base in BASES]
)
def test_file_of_the_folder_gives_the_features_of_keras_own_loader(
    base: Base, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    official = ORIGINAL_FILES[base]
    source = imagenet_base(base, 32, None)
    _store_imagenet_normalization(source)
    source.save(tmp_path / official.name)
    requested: dict[str, Any] = {}

    def from_folder(name: str, url: str, **options: Any) -> str:
        requested.update(name=name, url=url, md5=options["file_hash"])
        return str(tmp_path / official.name)

    monkeypatch.setattr(file_utils, "get_file", from_folder)
    theirs = getattr(keras.applications, base)(weights="imagenet", include_top=False, input_shape=(32, 32, 3))
    ours = imagenet_base(base, 32, locate_base_weights(base, tmp_path))

    images = 255 * np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
    np.testing.assert_allclose(ours.predict(images, verbose=0), theirs.predict(images, verbose=0), rtol=1e-4, atol=1e-6)
    assert not np.allclose(imagenet_base(base, 32, None).predict(images, verbose=0), ours.predict(images, verbose=0))
    assert requested == {"name": official.name, "url": f"{official.folder_url}/{official.name}", "md5": official.md5}


def test_keras_cache_is_used_when_the_folder_has_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = tmp_path / "home" / "models" / WEIGHTS_FILES["VGG16"].name
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"weights")
    md5 = hashlib.md5(b"weights", usedforsecurity=False).hexdigest()
    monkeypatch.setitem(imagenet_weights.WEIGHTS_FILES, "VGG16", replace(WEIGHTS_FILES["VGG16"], md5=md5))
    (tmp_path / "folder").mkdir()

    assert locate_base_weights("VGG16", tmp_path / "folder", tmp_path / "home") == cached


def test_damaged_file_in_the_cache_is_not_used(tmp_path: Path) -> None:
    cached = tmp_path / "models" / WEIGHTS_FILES["VGG16"].name
    cached.parent.mkdir()
    cached.write_bytes(b"half a file")

    with pytest.raises(WeightsUnavailable):
        locate_base_weights("VGG16", None, tmp_path)


@pytest.mark.parametrize("base", BASES)
def test_missing_weights_name_the_three_places_and_the_remedy(base: Base, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable) as refusal:
        locate_base_weights(base, tmp_path / "folder", tmp_path / "home")

    message = str(refusal.value)
    for part in (
        f"{tmp_path / 'folder'} has no",
        str(tmp_path / "home" / "models"),
        "127.0.0.1:9",
        '"weights": "none"',
    ):
        assert part in message


def test_file_that_holds_no_weights_is_refused(tmp_path: Path) -> None:
    file = tmp_path / WEIGHTS_FILES["VGG16"].name
    file.write_bytes(b"not HDF5")

    with pytest.raises(WeightsUnavailable, match="does not hold the weights of VGG16"):
        imagenet_base("VGG16", 32, file)


def test_weights_of_another_base_are_refused(tmp_path: Path) -> None:
    file = tmp_path / WEIGHTS_FILES["VGG16"].name
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(file)

    with pytest.raises(WeightsUnavailable, match="Replace it"):
        imagenet_base("VGG16", 32, file)


ORIGINAL_FILES = dict(WEIGHTS_FILES)


def _store_imagenet_normalization(model: keras.Model) -> None:
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.adapt_mean.assign([0.485, 0.456, 0.406])
            layer.adapt_variance.assign([0.229, 0.224, 0.225])
            layer.finalize_state()
