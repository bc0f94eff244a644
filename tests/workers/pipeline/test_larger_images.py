"""Networks for images of 64 pixels: an ImageNet base, and two networks with eight views in one graph."""

from pathlib import Path

import keras
import numpy as np
import pytest

from models_store.contract.specs import ExperimentSpec
from models_store.experiment.phases import screening
from models_store.scoring.probability_calibration import ProbabilityCalibration
from models_store.scoring.scorer import Scorer
from tests.workers.pipeline.small_experiment import NUMPY_COPY
from tests.workers.pipeline.test_architectures import base_of
from workers.pipeline.data import scaled
from workers.pipeline.export import check_parity, export_onnx, onnx_network
from workers.pipeline.networks.building import build_model
from workers.pipeline.serving_graph import save, serving_graph

pytestmark = pytest.mark.filterwarnings(NUMPY_COPY)

SIZE = 64
PIXELS = np.random.default_rng(0).integers(0, 256, (16, SIZE, SIZE, 3), dtype=np.uint8)
LABELS = np.eye(2, dtype=np.float32)[np.arange(len(PIXELS)) % 2]


def trained_one_step(architecture: str, *input_sizes: int) -> keras.Model:
    spec = ExperimentSpec(dataset="d", architectures=(architecture,), input_sizes=input_sizes, weights="none")
    (trial,) = screening(spec).values()
    model = build_model(trial, SIZE, base_weights=None, seed=1)
    model.compile(keras.optimizers.Adam(trial.learning_rate), "categorical_crossentropy", run_eagerly=True)
    model.train_on_batch(scaled(PIXELS), LABELS)
    return model


@pytest.mark.parametrize(
    ("architecture", "input_sizes", "seen"),
    [
        ("EffLite_v1", (64,), 64),
        pytest.param("EffNet_v2", (), 128, marks=pytest.mark.slow),
        pytest.param("ResNet_v2", (), 128, marks=pytest.mark.slow),
        pytest.param("VGG_v2", (), 128, marks=pytest.mark.slow),
    ],
)
def test_a_network_with_a_base_trains_and_exports(
    architecture: str, input_sizes: tuple[int, ...], seen: int, tmp_path: Path
) -> None:
    model = trained_one_step(architecture, *input_sizes)

    export_onnx(model, tmp_path / "model.onnx")

    assert base_of(model).input_shape[1:3] == (seen, seen)
    assert Scorer(tmp_path / "model.onnx").input_size == SIZE
    parity = check_parity([model], tmp_path / "model.onnx", PIXELS, threshold=0.001)
    assert parity.max_abs_difference <= 1e-4


def test_two_networks_with_eight_views_answer_as_both_do(tmp_path: Path) -> None:
    models = [trained_one_step("CNN_v1"), trained_one_step("ConvNet_v1")]
    networks = [onnx_network(model) for model in models]

    save(serving_graph(networks, ProbabilityCalibration(), views=8), tmp_path / "model.onnx")

    scorer = Scorer(tmp_path / "model.onnx")
    assert scorer.images_at_once < len(PIXELS)
    parity = check_parity(models, tmp_path / "model.onnx", PIXELS, threshold=0.001, views=8)
    assert parity.max_abs_difference <= 1e-4
    alone = np.concatenate([scorer(image[np.newaxis]) for image in PIXELS])
    np.testing.assert_allclose(scorer(PIXELS), alone, atol=1e-6)
