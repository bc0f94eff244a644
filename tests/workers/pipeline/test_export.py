"""The exported network gives the probabilities of the trained one, or is refused."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pytest

from models_store.scoring.probability_calibration import ProbabilityCalibration
from models_store.scoring.scorer import Scorer
from workers.pipeline.data import scaled
from workers.pipeline.export import (
    PARITY_IMAGES,
    ExportNotFaithful,
    check_parity,
    export_onnx,
    onnx_network,
    parity_warning,
)
from workers.pipeline.networks.building import load_model
from workers.pipeline.serving_graph import save, serving_graph, views_of

# Keras 3.15 asks NumPy 2 for an array that TensorFlow's variables hand over in the older way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IMAGES = np.random.default_rng(0).integers(0, 256, (PARITY_IMAGES, 8, 8, 3), dtype=np.uint8)

TRAIN_WITH_JAX = """
import sys
from workers.pipeline.backend import configure, environment
configure("jax", seed=1)
import numpy as np
from models_store.contract.specs import TrialSpec
from workers.pipeline.networks.building import build_model
spec = TrialSpec(architecture="CNN_v1", class_weight="W3", learning_rate=0.001, dropout=0.5, batch_size=8,
                 unfreeze="all", seed=1)
images = np.random.default_rng(0).integers(0, 256, (256, 28, 28, 3), dtype=np.uint8)
scaled = images.astype(np.float32) / 255
model = build_model(spec, 28, base_weights=None, seed=1)
model.compile("adam", "categorical_crossentropy")
model.train_on_batch(scaled[:8], np.eye(2, dtype=np.float32)[np.arange(8) % 2])
model.save(f"{sys.argv[1]}/model.keras")
np.savez(f"{sys.argv[1]}/answers.npz", images=images, probabilities=model.predict(scaled, verbose=0))
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
    assert [value.name for value in graph.output] == ["probability_malignant", "features"]
    for count in (1, 3):
        assert Scorer(exported)(IMAGES[:count]).shape == (count,)
    assert [file.name for file in exported.parent.iterdir()] == ["model.onnx"]


def test_faithful_export_passes_with_its_figures(exported: Path, caplog: pytest.LogCaptureFixture) -> None:
    parity = check_parity([small_network()], exported, IMAGES, threshold=0.5)

    assert (parity.images, parity.decisions_differ) == (256, 0)
    assert parity.max_abs_difference <= 1e-5
    assert (parity_warning(parity), caplog.messages) == (None, [])


def test_difference_beyond_rounding_that_changes_no_decision_is_a_warning(
    exported: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parity = check_parity([nudged(4e-4)], exported, IMAGES, threshold=0.0)

    assert 1e-5 < parity.max_abs_difference <= 1e-3
    warning = parity_warning(parity)
    assert warning is not None
    assert f"differ from those of the trained one by up to {parity.max_abs_difference:.1e}" in warning
    assert caplog.messages == [f"model.onnx: {warning}"]


def test_export_of_other_weights_is_refused(exported: Path) -> None:
    with pytest.raises(ExportNotFaithful, match="not packaged"):
        check_parity([small_network(seed=2)], exported, IMAGES, threshold=0.5)


def nudged(by: float) -> keras.Model:
    model = small_network()
    bias = model.layers[-1].bias
    bias.assign(bias + np.array([0, by], dtype=np.float32))
    return model


def test_decision_that_differs_by_more_than_rounding_is_refused(exported: Path) -> None:
    model = nudged(4e-4)
    expected, answered = model.predict(scaled(IMAGES), verbose=0)[:, 1], Scorer(exported)(IMAGES)
    between = float(np.max((expected + answered) / 2))

    with pytest.raises(ExportNotFaithful, match="1 of 256 decisions"):
        check_parity([model], exported, IMAGES, threshold=between)


def test_decision_that_only_rounding_changes_is_counted_and_accepted(exported: Path) -> None:
    model = nudged(4e-6)
    expected, answered = model.predict(scaled(IMAGES), verbose=0)[:, 1], Scorer(exported)(IMAGES)
    between = float(np.max((expected + answered) / 2))

    assert check_parity([model], exported, IMAGES, threshold=between).decisions_differ == 1


CALIBRATIONS = [ProbabilityCalibration(), ProbabilityCalibration(method="platt", slope=1.7, intercept=-0.6)]


@pytest.mark.parametrize("calibration", CALIBRATIONS, ids=lambda calibration: calibration.method)
@pytest.mark.parametrize(("count", "views"), [(1, 8), (3, 1), (2, 8)])
def test_graph_averages_networks_and_views_and_calibrates_the_mean(
    tmp_path: Path, count: int, views: int, calibration: ProbabilityCalibration
) -> None:
    models = [small_network(seed) for seed in range(count)]
    path = tmp_path / "model.onnx"

    save(serving_graph([onnx_network(model) for model in models], calibration, views=views), path)

    parity = check_parity(models, path, IMAGES, 0.5, calibration=calibration, views=views)
    assert parity.max_abs_difference <= 1e-6


def test_eight_views_answer_alike_for_every_rotation_and_reflection(tmp_path: Path) -> None:
    save(serving_graph([onnx_network(small_network())], ProbabilityCalibration(), views=8), tmp_path / "model.onnx")
    scorer = Scorer(tmp_path / "model.onnx")

    for turned in (np.rot90(IMAGES, 1, (1, 2)), IMAGES[:, ::-1], np.rot90(IMAGES[:, :, ::-1], 3, (1, 2))):
        np.testing.assert_allclose(scorer(np.ascontiguousarray(turned)), scorer(IMAGES), atol=1e-6)
    assert len({view.tobytes() for view in views_of(IMAGES[:1], 8)}) == 8


def test_diagnoses_share_out_the_calibrated_probability(tmp_path: Path) -> None:
    # Given a network that predicts the seven diagnoses
    keras.utils.set_random_seed(3)
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Flatten()(keras.layers.Conv2D(4, 3)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(7, activation="softmax")(x))
    calibration = ProbabilityCalibration(method="platt", slope=0.8, intercept=0.5)

    # When its graph answers
    save(serving_graph([onnx_network(model)], calibration), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    probability, diagnoses = session.run(["probability_malignant", "diagnoses"], {"image": IMAGES})

    # Then akiec, bcc and mel sum to the calibrated probability, and within them nothing is shifted
    own = model.predict(scaled(IMAGES), verbose=0)
    malignant = [0, 1, 4]
    np.testing.assert_allclose(probability, calibration(own[:, malignant].sum(axis=1)), atol=1e-6)
    np.testing.assert_allclose(diagnoses[:, malignant].sum(axis=1), probability, atol=1e-6)
    np.testing.assert_allclose(diagnoses.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(diagnoses[:, 0] / diagnoses[:, 4], own[:, 0] / own[:, 4], rtol=1e-4)


def test_export_that_answers_not_a_number_is_refused(exported: Path) -> None:
    model = small_network()
    model.layers[-1].bias.assign([np.nan, np.nan])

    with pytest.raises(ExportNotFaithful):
        check_parity([model], exported, IMAGES, threshold=0.5)


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
    check_parity([model], tmp_path / "model.onnx", answers["images"], threshold=0.5)
    np.testing.assert_allclose(
        Scorer(tmp_path / "model.onnx")(answers["images"]), answers["probabilities"][:, 1], atol=1e-5
    )
