"""The exported network answers like the trained one, or is refused."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest

from workers.pipeline.export import PARITY_IMAGES, ExportNotFaithful, check_parity, export_onnx, onnx_probabilities
from workers.pipeline.networks.building import load_model

# Keras 3.15 asks NumPy 2 for an array that TensorFlow's variables hand over in the older way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IMAGES = np.random.default_rng(0).random((PARITY_IMAGES, 8, 8, 3), dtype=np.float32)

TRAIN_WITH_JAX = """
import sys
from workers.pipeline.backend import configure, environment
configure("jax", seed=1)
import numpy as np
from models_store.contract.specs import TrialSpec
from workers.pipeline.networks.building import build_model
spec = TrialSpec(architecture="CNN_v1", class_weight="W3", learning_rate=0.001, dropout=0.5, batch_size=8,
                 unfreeze="all", seed=1)
images = np.random.default_rng(0).random((256, 28, 28, 3), dtype=np.float32)
model = build_model(spec, 28, base_weights=None, seed=1)
model.compile("adam", "categorical_crossentropy")
model.train_on_batch(images[:8], np.eye(2, dtype=np.float32)[np.arange(8) % 2])
model.save(f"{sys.argv[1]}/model.keras")
np.savez(f"{sys.argv[1]}/answers.npz", images=images, probabilities=model.predict(images, verbose=0))
"""


def small_network(seed: int = 1) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(inputs)))
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x), name="small")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    export_onnx(small_network(), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def test_export_has_named_input_and_output_and_a_free_batch_size(exported: Path) -> None:
    graph = onnx.load(exported).graph

    assert [value.name for value in graph.input] == ["image"]
    assert [value.name for value in graph.output] == ["probabilities", "features"]
    for count in (1, 3):
        assert onnx_probabilities(exported, IMAGES[:count]).shape == (count,)
    assert [file.name for file in exported.parent.iterdir()] == ["model.onnx"]


def test_faithful_export_passes_with_its_figures(exported: Path) -> None:
    parity = check_parity(small_network(), exported, IMAGES, threshold=0.5)

    assert (parity.images, parity.decisions_differ) == (256, 0)
    assert parity.max_abs_difference <= 1e-5


def test_export_of_other_weights_is_refused(exported: Path) -> None:
    with pytest.raises(ExportNotFaithful, match="not packaged"):
        check_parity(small_network(seed=2), exported, IMAGES, threshold=0.5)


def test_decision_that_differs_is_refused_however_small_the_difference(exported: Path) -> None:
    model = small_network()
    bias = model.layers[-1].bias
    bias.assign(bias + np.array([0, 4e-6], dtype=np.float32))
    expected, answered = model.predict(IMAGES, verbose=0)[:, 1], onnx_probabilities(exported, IMAGES)
    between = float(np.max((expected + answered) / 2))

    with pytest.raises(ExportNotFaithful, match="1 of 256 decisions"):
        check_parity(model, exported, IMAGES, threshold=between)


def test_export_that_answers_not_a_number_is_refused(exported: Path) -> None:
    model = small_network()
    model.layers[-1].bias.assign([np.nan, np.nan])

    with pytest.raises(ExportNotFaithful):
        check_parity(model, exported, IMAGES, threshold=0.5)


@pytest.mark.slow
def test_network_trained_with_jax_loads_and_exports_under_tensorflow(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", TRAIN_WITH_JAX, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    model = load_model(tmp_path / "model.keras")

    export_onnx(model, tmp_path / "model.onnx")

    answers = np.load(tmp_path / "answers.npz")
    assert keras.backend.backend() == "tensorflow"
    check_parity(model, tmp_path / "model.onnx", answers["images"], threshold=0.5)
    np.testing.assert_allclose(
        onnx_probabilities(tmp_path / "model.onnx", answers["images"]), answers["probabilities"][:, 1], atol=1e-5
    )
