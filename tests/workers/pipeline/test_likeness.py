"""The distribution of training images comes from the exported network and leaves its probabilities unchanged."""

from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
from sklearn.covariance import LedoitWolf

from models_store.contract.catalog import ARCHITECTURES, ConvNet, CustomCNN
from models_store.contract.specs import ExperimentSpec
from models_store.experiment import phases
from models_store.scoring.out_of_distribution import load_distribution
from models_store.scoring.scorer import Scorer
from tests.workers.pipeline.small_experiment import NUMPY_COPY, small_data, small_model
from workers.pipeline import calibration as fitting
from workers.pipeline.calibration import USUAL_SHARE, fit_distribution, fitted_to
from workers.pipeline.export import export_onnx, with_features
from workers.pipeline.networks.building import build_model

pytestmark = pytest.mark.filterwarnings(NUMPY_COPY)


def test_distance_is_mahalanobis_where_every_direction_is_kept() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(400, 6)) @ random.normal(size=(6, 6))
    others = random.normal(size=(9, 6)) * 3
    expected = LedoitWolf().fit(features).mahalanobis(others)
    np.testing.assert_allclose(np.square(fitted_to(features).distances(others)) * 6, expected, rtol=1e-8)


def test_distances_are_right_with_more_features_than_images_or_directions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "MAX_DIRECTIONS", 8)
    random = np.random.default_rng(0)
    usual = random.normal(size=(60, 80)) * np.linspace(3, 0.1, 80)
    fitted = fitted_to(usual[:40])
    assert fitted.directions.shape == (80, 8)
    assert fitted.distances(usual[40:] + 5).min() > fitted.distances(usual[40:]).max()


def test_cut_leaves_the_usual_share_of_calibration_images_below(tmp_path: Path) -> None:
    export_onnx(small_model(), tmp_path / "model.onnx")
    scorer, data = Scorer(tmp_path / "model.onnx"), small_data()
    likeness, fit = fit_distribution(scorer, data, seed=1)
    again, _ = fit_distribution(scorer, data, seed=1)
    unlikeness = likeness.score(scorer.features(data.calibration.images))
    assert np.mean(unlikeness <= 1) >= USUAL_SHARE
    assert unlikeness.max() == pytest.approx(1)
    np.testing.assert_array_equal(
        again.distances(scorer.features(data.train.images)), likeness.distances(scorer.features(data.train.images))
    )
    assert (fit.cut, fit.features, fit.calibration_images) == (likeness.cut, 4, 60)


def test_scores_with_a_saved_distribution_leave_probabilities_unchanged(tmp_path: Path) -> None:
    export_onnx(small_model(), tmp_path / "model.onnx")
    data = small_data()
    likeness, _ = fit_distribution(Scorer(tmp_path / "model.onnx"), data, seed=1)
    likeness.save(tmp_path / "likeness.npz")
    scorer = Scorer(tmp_path / "model.onnx", distribution=load_distribution(tmp_path / "likeness.npz"))
    probabilities, unlikeness, _ = scorer.judge(data.train.images)
    np.testing.assert_array_equal(probabilities, scorer(data.train.images))
    assert unlikeness is not None
    np.testing.assert_array_equal(unlikeness, likeness.score(scorer.features(data.train.images)))


def test_features_are_the_channel_means_behind_each_pooling_and_leave_the_answer_alone() -> None:
    model = small_model()
    images = np.random.default_rng(0).random((5, 8, 8, 3), dtype=np.float32)
    probabilities, features = (np.asarray(output) for output in with_features(model)(images, training=False))
    np.testing.assert_array_equal(probabilities, np.asarray(model(images, training=False)))
    (pooling,) = (layer for layer in model.layers if isinstance(layer, keras.layers.MaxPooling2D))
    pooled = np.asarray(keras.Model(model.inputs[0], pooling.output)(images, training=False))
    np.testing.assert_allclose(features, pooled.mean((1, 2)), rtol=1e-5)


@pytest.mark.parametrize("name", ["CNN_v1", "CNN_v2", "ConvNet_v1", "ResNet_v1", "VGG_v1", "EffNet_v1", "EffLite_v1"])
def test_every_kind_of_network_has_features(name: str) -> None:
    architecture = ARCHITECTURES[name]
    (trial,) = phases.screening(ExperimentSpec(dataset="d", architectures=(name,), weights="none")).values()
    number = with_features(build_model(trial, 28, base_weights=None, seed=1)).outputs[1].shape[1]
    channels = {"ResNet50": 2048, "VGG16": 512, "EfficientNetB0": 1280, "EfficientNetLite0": 1280}
    if isinstance(architecture, CustomCNN):
        assert number == sum(architecture.filters * 2**block for block in range(architecture.depth))
    elif isinstance(architecture, ConvNet):
        assert number == sum(architecture.filters) + architecture.filters[-1]
    else:
        assert number == channels[architecture.base]


def test_export_serves_features_beside_probabilities_from_one_run(tmp_path: Path) -> None:
    export_onnx(small_model(), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    alone = session.run(["probability_malignant"], {"image": images})[0]
    together, features = session.run(["probability_malignant", "features"], {"image": images})
    np.testing.assert_array_equal(alone, together)
    assert features.shape == (3, 4)
