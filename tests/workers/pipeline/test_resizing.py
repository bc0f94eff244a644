"""Resizing inside the graph is bilinear, antialiased on the way down, and survives export."""

from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from models_store.contract.specs import ExperimentSpec
from models_store.experiment.phases import screening
from tests.workers.pipeline.small_experiment import NUMPY_COPY
from workers.pipeline.export import check_parity, export_onnx
from workers.pipeline.networks.building import build_model, load_model
from workers.pipeline.networks.resizing import Resized, interpolation

pytestmark = pytest.mark.filterwarnings(NUMPY_COPY)


@pytest.mark.parametrize("size", [20, 28, 56, 37])
def test_images_are_resized_as_pillow_does(size: int) -> None:
    image = np.random.default_rng(0).random((28, 28), dtype=np.float32)
    expected = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))

    resized = np.asarray(Resized(size)(image[None, :, :, None]))

    assert resized.shape == (1, size, size, 1)
    np.testing.assert_allclose(resized[0, :, :, 0], expected, atol=1e-5)


def test_rows_and_columns_are_not_swapped() -> None:
    image = np.zeros((1, 8, 8, 3), dtype=np.float32)
    image[0, 0] = 1

    resized = np.asarray(Resized(16)(image))[0]

    assert (resized[0] == 1).all()
    assert (resized[8:] == 0).all()


def test_a_size_that_stays_changes_nothing() -> None:
    np.testing.assert_array_equal(interpolation(8, 8), np.eye(8))


@pytest.mark.parametrize(
    ("architecture", "input_sizes", "image_size"), [("ConvNet_v1", (), 64), ("EffLite_v1", (48,), 28)]
)
def test_a_network_that_resizes_is_saved_and_exported(
    architecture: str, input_sizes: tuple[int, ...], image_size: int, tmp_path: Path
) -> None:
    spec = ExperimentSpec(dataset="d", architectures=(architecture,), input_sizes=input_sizes, weights="none")
    (trial,) = screening(spec).values()
    images = np.random.default_rng(0).integers(0, 256, (16, image_size, image_size, 3), dtype=np.uint8)
    model = build_model(trial, image_size, base_weights=None, seed=1)
    model.save(tmp_path / "model.keras")

    reloaded = load_model(tmp_path / "model.keras")
    export_onnx(reloaded, tmp_path / "model.onnx")

    assert isinstance(model.get_layer("resized"), keras.layers.Layer)
    parity = check_parity([model], tmp_path / "model.onnx", images, threshold=0.001)
    assert parity.max_abs_difference <= 1e-5
