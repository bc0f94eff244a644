"""Each of the networks is built and trained one step; each kind is saved, reloaded and exported with parity."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from models_store.contract.catalog import ARCHITECTURES, Architecture, TransferModel
from models_store.contract.specs import TrialSpec
from models_store.scoring.scorer import Scorer
from workers.pipeline.backend import OUTPUT_NAME
from workers.pipeline.data import scaled
from workers.pipeline.export import PARITY_IMAGES, check_parity, export_onnx
from workers.pipeline.networks.architectures import InferenceMode, imagenet_base
from workers.pipeline.networks.building import build_model, load_model
from workers.pipeline.networks.imagenet_weights import WEIGHTS_FILES, locate_base_weights

# Keras 3.15 asks NumPy 2 for an array that TensorFlow's variables hand over in the older way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PIXELS = np.random.default_rng(0).integers(0, 256, (PARITY_IMAGES, 28, 28, 3), dtype=np.uint8)
IMAGES = scaled(PIXELS)
LABELS = np.eye(2, dtype=np.float32)[np.arange(8) % 2]
# The quick ones, where a network is saved and exported; `make test-all` takes every one.
EXAMPLES = ("CNN_v1", "CNN_v2", "ConvNet_v1", "EffLite_v1")
# One of each base, and every network of our own; the others differ from these in dropout, learning rate and unfreezing.
QUICK = ("ResNet_v1", "VGG_v1", "EffNet_v1")
BUILT = [
    pytest.param(
        name, marks=pytest.mark.slow if isinstance(each, TransferModel) and name not in (*QUICK, *EXAMPLES) else ()
    )
    for name, each in ARCHITECTURES.items()
]
STORED = [pytest.param(name, marks=() if name in EXAMPLES else pytest.mark.slow) for name in ARCHITECTURES]


@dataclass(frozen=True)
class Trained:
    """A network after one step, and its weights before and after it, by variable path."""

    architecture: Architecture
    model: keras.Model
    before: dict[str, Any]
    after: dict[str, Any]


@pytest.fixture(scope="module")
def weights_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files named as Keras' own. Their BatchNorm statistics fit the images, so that features differ between images."""
    root = tmp_path_factory.mktemp("weights")
    for base, file in WEIGHTS_FILES.items():
        keras.utils.set_random_seed(0)
        model = imagenet_base(base, 56, None)
        let_statistics_settle_at_once(model)
        model(255 * IMAGES[:32].repeat(2, axis=1).repeat(2, axis=2), training=True)
        model.save(root / file.name)
    return root


@pytest.fixture(scope="module", params=BUILT)
def trained(request: pytest.FixtureRequest, weights_root: Path) -> Trained:
    architecture = ARCHITECTURES[request.param]
    keras.utils.clear_session()
    spec = TrialSpec(
        architecture=architecture.name,
        class_weight="W0",
        learning_rate=architecture.learning_rate,
        dropout=architecture.dropout,
        batch_size=architecture.batch_size,
        unfreeze=architecture.unfreeze if isinstance(architecture, TransferModel) else "all",
        seed=1,
    )
    file = locate_base_weights(architecture.base, weights_root) if isinstance(architecture, TransferModel) else None
    model = build_model(spec, 28, base_weights=file, seed=1)
    let_statistics_settle_at_once(model)
    soften(model)
    before = weights_of(model)
    # One eager step costs a fifth of compiling a graph for it.
    model.compile(keras.optimizers.Adam(spec.learning_rate), "categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(IMAGES[:8], LABELS)
    model(IMAGES[:32], training=True)
    return Trained(architecture, model, before, weights_of(model))


@pytest.fixture(scope="module")
def reloaded(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> keras.Model:
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    trained.model.save(path)
    return load_model(path)


def let_statistics_settle_at_once(model: keras.Model) -> None:
    """One pass replaces BatchNorm's running statistics, as a long training would; frozen ones stay."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0


def soften(model: keras.Model) -> None:
    """Shrink the logits to a sixteenth. Random deep networks amplify float32's rounding: as they are, Keras' own
    probabilities of EfficientNetB0 lie 1.5e-5 from those it computes in float64."""
    kernel = model.get_layer(OUTPUT_NAME).kernel
    kernel.assign(kernel / 16)


def base_of(model: keras.Model) -> keras.Model:
    inner = (layer.layer if isinstance(layer, InferenceMode) else layer for layer in model.layers)
    return next(layer for layer in inner if isinstance(layer, keras.Model))


def weights_of(model: keras.Model) -> dict[str, Any]:
    return {weight.path: keras.ops.convert_to_numpy(weight).copy() for weight in model.weights}


def test_one_step_changes_the_layers_that_train_and_no_others(trained: Trained) -> None:
    changed = {path for path in trained.before if not np.array_equal(trained.before[path], trained.after[path])}

    trains = {weight.path for weight in trained.model.trainable_weights}
    kernels = {path for path in trains if path.endswith("kernel")}
    assert {path for path in changed if "moving" not in path} <= trains
    assert kernels <= changed


def test_statistics_of_the_base_move_only_if_all_of_it_trains(trained: Trained) -> None:
    if not isinstance(trained.architecture, TransferModel):
        pytest.skip("this network has no base")
    base = base_of(trained.model)
    paths = {weight.path for weight in base.weights if "moving" in weight.path}

    moved = {path for path in paths if not np.array_equal(trained.before[path], trained.after[path])}

    assert moved == (paths if trained.architecture.unfreeze == "all" else set())


def test_base_trains_the_catalogued_number_of_layers(trained: Trained) -> None:
    if not isinstance(trained.architecture, TransferModel):
        pytest.skip("this network has no base")
    layers = base_of(trained.model).layers

    unfreeze = trained.architecture.unfreeze
    assert sum(layer.trainable for layer in layers) == (len(layers) if unfreeze == "all" else unfreeze)


@pytest.mark.parametrize("trained", STORED, indirect=True)
def test_reloaded_network_has_the_same_weights_and_trains_the_same_layers(
    trained: Trained, reloaded: keras.Model
) -> None:
    found = weights_of(reloaded)

    assert [weight.path for weight in reloaded.trainable_weights] == [
        weight.path for weight in trained.model.trainable_weights
    ]
    assert found.keys() == trained.after.keys()
    for path, value in trained.after.items():
        np.testing.assert_array_equal(found[path], value)


@pytest.mark.parametrize("trained", STORED, indirect=True)
def test_reloaded_network_exports_and_answers_like_the_trained_one(
    trained: Trained, reloaded: keras.Model, tmp_path: Path
) -> None:
    export_onnx(reloaded, tmp_path / "model.onnx")
    probabilities = Scorer(tmp_path / "model.onnx")(PIXELS)
    threshold = widest_gap_near_the_median(probabilities)

    parity = check_parity([trained.model], tmp_path / "model.onnx", PIXELS, threshold)

    assert parity.images == PARITY_IMAGES
    assert parity.max_abs_difference <= 1e-5
    assert np.std(probabilities) > 100 * parity.max_abs_difference, "images that look alike would show nothing"


def widest_gap_near_the_median(probabilities: np.ndarray[Any, Any]) -> float:
    """A threshold that splits the images in two and equals no score, where rounding would decide."""
    middle = np.sort(probabilities)[PARITY_IMAGES // 4 : 3 * PARITY_IMAGES // 4]
    widest = int(np.argmax(np.diff(middle)))
    return float((middle[widest] + middle[widest + 1]) / 2)
