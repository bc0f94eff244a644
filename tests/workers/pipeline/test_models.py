"""Networks are built as the catalogue states them."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import keras
import numpy as np
import pytest

from models_store.contract.catalog import ARCHITECTURES, Base, CustomCNN, Unfreeze
from models_store.contract.specs import TrialSpec
from workers.pipeline.networks.architectures import PREPROCESSED, dropout_ramp, imagenet_base, train_only_top
from workers.pipeline.networks.building import (
    CheckpointMismatch,
    build_model,
    load_model,
    load_weights_from,
)

# Keras 3.15 asks NumPy 2 for an array that TensorFlow's variables hand over in the older way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

CUSTOM = [name for name, architecture in ARCHITECTURES.items() if isinstance(architecture, CustomCNN)]


def trial(name: str, unfreeze: Unfreeze = "all", dropout: float = 0.5) -> TrialSpec:
    return TrialSpec(
        architecture=name,
        class_weight="W3",
        learning_rate=0.001,
        dropout=dropout,
        batch_size=8,
        unfreeze=unfreeze,
        seed=1,
    )


def build(name: str, unfreeze: Unfreeze = "all", dropout: float = 0.5, seed: int = 1) -> keras.Model:
    return build_model(trial(name, unfreeze, dropout), 28, base_weights=None, seed=seed)


def trainable_layers(model: keras.Model) -> int:
    return sum(layer.trainable for layer in model.layers)


@pytest.fixture(autouse=True)
def _fresh_keras() -> Iterator[None]:
    yield
    keras.utils.clear_session()


@pytest.mark.parametrize(
    ("base", "layers", "millions"), [("ResNet50", 175, 23.5), ("VGG16", 19, 14.7), ("EfficientNetB0", 237, 4.0)]
)
def test_base_has_the_stated_size(base: Base, layers: int, millions: float) -> None:
    """Layers include the input; parameters are the trainable ones, without BatchNorm's running statistics."""
    model = imagenet_base(base, 56, None)

    assert len(model.layers) == layers
    assert round(sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) / 1e6, 1) == millions


@pytest.mark.parametrize(
    ("base", "total"), [("ResNet50", 175), ("VGG16", 19), ("EfficientNetB0", 237)], ids=lambda value: str(value)
)
def test_unfreeze_trains_that_many_layers_from_the_top(base: Base, total: int) -> None:
    model = imagenet_base(base, 56, None)
    cases: list[tuple[Unfreeze, int]] = [(unfreeze, min(unfreeze, total)) for unfreeze in (0, 4, 10, 20, 30)]

    for unfreeze, expected in [*cases, ("all", total)]:
        for layer in model.layers:
            layer.trainable = True
        train_only_top(model.layers, unfreeze)

        assert [layer.trainable for layer in model.layers] == [False] * (total - expected) + [True] * expected


@pytest.mark.parametrize("name", CUSTOM)
@pytest.mark.parametrize("unfreeze", [0, 4, 10, 20, 30, "all"])
def test_custom_cnn_trains_only_its_top_layers(name: str, unfreeze: Unfreeze) -> None:
    model = build(name, unfreeze)

    total = 4 * ARCHITECTURES[name].depth + 5  # type: ignore[union-attr]
    assert len(model.layers) == total
    assert trainable_layers(model) == (total if unfreeze == "all" else min(unfreeze, total))


@pytest.mark.parametrize("name", CUSTOM)
def test_filters_double_and_dropout_grows_with_depth(name: str) -> None:
    architecture = ARCHITECTURES[name]
    assert isinstance(architecture, CustomCNN)
    model = build(name, dropout=architecture.dropout)

    filters = [layer.filters for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    rates = [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    units = [layer.units for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    assert filters == [architecture.filters * 2**block for block in range(architecture.depth)]
    assert all(shallow < deep for shallow, deep in pairwise(rates))
    assert rates[-1] == architecture.dropout
    assert units == [architecture.dense, 2]


def test_dropout_ramp_rises_in_equal_steps_to_the_stated_rate() -> None:
    assert dropout_ramp(0.4, 3) == pytest.approx((0.1, 0.2, 0.3, 0.4))


def test_spec_replaces_the_dropout_of_the_catalogue() -> None:
    rates = [layer.rate for layer in build("VGG_v1", 0, 0.7).layers if isinstance(layer, keras.layers.Dropout)]

    assert rates == [0.7, 0.7]


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("ResNet_v1", keras.applications.resnet50),
        ("VGG_v1", keras.applications.vgg16),
        ("EffNet_v1", keras.applications.efficientnet),
    ],
)
def test_graph_preprocesses_as_keras_does(name: str, module: object) -> None:
    images = np.random.default_rng(0).random((2, 28, 28, 3), dtype=np.float32)
    upsampled = images.repeat(2, axis=1).repeat(2, axis=2)
    model = build(name, 0)

    inside = keras.Model(model.inputs, model.get_layer(PREPROCESSED).output).predict(images, verbose=0)

    expected = module.preprocess_input(255.0 * upsampled)  # type: ignore[attr-defined]
    np.testing.assert_allclose(inside, expected, atol=1e-4)


@pytest.mark.parametrize("name", ["CNN_v1", "EffLite_v1"])
def test_same_seed_gives_the_same_network(name: str) -> None:
    images = np.random.default_rng(0).random((2, 28, 28, 3), dtype=np.float32)
    first, second, other = build(name, seed=5), build(name, seed=5), build(name, seed=6)

    masked = [keras.ops.convert_to_numpy(model(images, training=True)) for model in (first, second, other)]

    for one, two in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(masked[0], masked[1])
    assert not np.array_equal(masked[0], masked[2])


def test_frozen_blocks_of_a_custom_cnn_keep_their_statistics() -> None:
    images = np.random.default_rng(0).random((8, 28, 28, 3), dtype=np.float32)
    model = build("CNN_v1", 10)

    model(images, training=True)

    moved = [
        bool(np.any(keras.ops.convert_to_numpy(layer.moving_mean)))
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert moved == [False, False, True]


@pytest.mark.parametrize(("name", "size"), [("CNN_v2", 15), ("VGG_v1", 15)])
def test_image_too_small_for_the_network_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="use images of at least 16x16"):
        build_model(trial(name), size, base_weights=None, seed=1)


def test_phase_two_starts_from_the_checkpoint_with_other_dropout(tmp_path: Path) -> None:
    winner = build("CNN_v1", dropout=0.5, seed=1)
    winner.save(tmp_path / "winner.keras")
    tuned = build("CNN_v1", 10, dropout=0.7, seed=2)

    load_weights_from(tuned, tmp_path / "winner.keras")

    for kept, loaded in zip(winner.get_weights(), tuned.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, loaded)
    assert tuned.get_layer("dropout_dense").rate == 0.7
    assert trainable_layers(tuned) == 10


@pytest.mark.parametrize("other", ["CNN_v2", "VGG_v1"])
def test_checkpoint_of_another_network_is_refused(other: str, tmp_path: Path) -> None:
    build(other).save(tmp_path / "other.keras")

    with pytest.raises(CheckpointMismatch, match="same architecture"):
        load_weights_from(build("CNN_v1"), tmp_path / "other.keras")


def test_saved_network_that_carries_code_is_refused(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x + 1)(inputs)).save(tmp_path / "lambda.keras")

    with pytest.raises(ValueError, match="Lambda"):
        load_model(tmp_path / "lambda.keras")
