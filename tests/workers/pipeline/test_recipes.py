"""The recipe `modern`, and what it shares with `classic`."""

from pathlib import Path

import keras
import numpy as np
import pytest

from models_store.contract.outcomes import Epoch
from models_store.contract.recipes import RECIPES, Augmentation, RecipeName
from models_store.contract.specs import ExperimentSpec, SelectionSpec
from models_store.datasets.labels import CLASS_NAMES, malignant_of
from models_store.experiment.phases import screening
from models_store.experiment.selection import policy_for
from models_store.scoring.scorer import Scorer
from tests.workers.pipeline.small_experiment import (
    NUMPY_COPY,
    schedule,
    small_data,
    small_model,
    small_split,
    still_model,
    unguarded,
)
from workers.pipeline.backend import configure
from workers.pipeline.data import scaled
from workers.pipeline.export import check_parity, export_onnx
from workers.pipeline.networks.building import build_model
from workers.pipeline.training.augmentation import RandomAffine
from workers.pipeline.training.fitting import malignant_scores, trainer_of
from workers.pipeline.training.optimizing import optimizer_of, warm_up_and_cosine
from workers.pipeline.training.targets import class_weight_of, one_hot
from workers.pipeline.training.training import TrainingOutcome, train

pytestmark = pytest.mark.filterwarnings(NUMPY_COPY)

MODERN = RECIPES["modern"]


@pytest.fixture(scope="module", autouse=True)
def deterministic() -> None:
    configure("tensorflow", seed=0)


def seven_classes(model: keras.Model) -> keras.Model:
    """The network with a softmax over the seven diagnoses in place of its last layer."""
    last = keras.layers.Dense(7, activation="softmax", name="probabilities")
    return keras.Model(model.inputs, last(model.layers[-2].output))


def run(folder: Path, kill_after: int | None = None) -> TrainingOutcome:
    def on_epoch(epoch: Epoch) -> None:
        if epoch.number == kill_after:
            raise KeyboardInterrupt

    modern = schedule(epochs=3, patience=1, recipe=MODERN)
    return train(seven_classes(small_model()), small_data(), modern, unguarded(), folder, on_epoch)


def test_malignant_is_the_sum_of_its_three_diagnoses() -> None:
    seven = np.array([[0.1, 0.2, 0.05, 0.05, 0.3, 0.2, 0.1]], dtype=np.float32)

    assert CLASS_NAMES == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert malignant_of(seven) == pytest.approx([0.6])
    assert malignant_of(np.array([[0.3, 0.7]], dtype=np.float32)) == pytest.approx([0.7])
    with pytest.raises(ValueError, match="gives 3"):
        malignant_of(np.zeros((1, 3), dtype=np.float32))


def test_class_weights_apply_to_malignant_diagnoses() -> None:
    weights = class_weight_of({0: 1.0, 1: 3.0}, "diagnosis")

    assert weights == {0: 3.0, 1: 3.0, 2: 1.0, 3: 1.0, 4: 3.0, 5: 1.0, 6: 1.0}
    assert class_weight_of({0: 1.0, 1: 3.0}, "malignant") == {0: 1.0, 1: 3.0}
    assert class_weight_of(None, "diagnosis") is None


def test_training_metrics_of_seven_diagnoses_are_of_malignant() -> None:
    # Given a network that calls every image an actinic keratosis, on images a third of which are melanomas
    model = seven_classes(small_model())
    model.layers[-1].bias.assign([50.0, 0, 0, 0, 0, 0, 0])
    trainer = trainer_of(model, 1e-12, MODERN)
    data = small_data().train

    figures = trainer.evaluate(data.images, one_hot(data, "diagnosis"), verbose=0, return_dict=True)

    assert figures["recall"] == 1
    assert figures["specificity"] == 0
    assert figures["precision"] == pytest.approx(1 / 3)
    np.testing.assert_allclose(malignant_scores(trainer, data.images), 1.0, atol=1e-6)


def test_learning_rate_rises_and_then_falls_to_zero_at_the_last_step() -> None:
    rate = warm_up_and_cosine(MODERN, 0.01, steps=100)
    rates = [float(rate(step)) for step in (0, 5, 50, 100)]

    assert rates[0] == 0
    assert rates[1] == pytest.approx(0.01)
    assert 0 < rates[2] < 0.01
    assert rates[3] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 19])
def test_a_training_of_few_steps_has_a_learning_rate(steps: int) -> None:
    rate = warm_up_and_cosine(MODERN, 0.01, steps)

    assert max(float(rate(step)) for step in range(steps)) == pytest.approx(0.01, rel=0.3)


def test_weight_decay_excludes_biases_and_normalisation() -> None:
    model = small_model()
    optimizer = optimizer_of(MODERN, 0.01, 10, model)
    optimizer.build(model.trainable_variables)

    decayed = {variable.name for variable in model.trainable_variables if optimizer._use_weight_decay(variable)}

    assert decayed == {"kernel"}


def test_every_epoch_is_trained_and_the_last_eligible_one_is_kept(tmp_path: Path) -> None:
    outcome = run(tmp_path)

    assert outcome.ended == "epochs"
    assert [epoch.best for epoch in outcome.epochs] == [True, True, True]
    assert outcome.best is not None
    assert outcome.best.number == 3


def test_a_killed_run_continues_with_the_very_same_metrics(tmp_path: Path) -> None:
    uninterrupted = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", kill_after=1)

    resumed = run(tmp_path / "killed")

    assert [epoch.metrics for epoch in resumed.epochs] == [epoch.metrics for epoch in uninterrupted.epochs]
    assert resumed.selection_scores is not None
    assert uninterrupted.selection_scores is not None
    assert resumed.selection_scores.tolist() == uninterrupted.selection_scores.tolist()


def test_a_run_without_an_eligible_epoch_is_collapsed(tmp_path: Path) -> None:
    model = seven_classes(still_model())
    model.layers[-1].bias.assign([50.0, 0, 0, 0, 0, 0, 0])
    still = schedule(epochs=2, learning_rate=1e-12, recipe=MODERN)
    guarded = policy_for(SelectionSpec(min_specificity=0.5))

    outcome = train(model, small_data(), still, guarded, tmp_path, lambda _: None)

    assert outcome.best is None
    assert outcome.collapsed == "no epoch of 2 reached validation specificity 0.50; the best was 0.00 at epoch 1"


def test_one_affine_resampling_keeps_an_image_that_is_not_changed() -> None:
    images = scaled(small_split(4).images)
    flips_alone = RandomAffine(Augmentation(rotation_degrees=0, shift=0, zoom=0, at_once=True))

    changed = np.asarray(flips_alone(images, training=True))

    np.testing.assert_array_equal(flips_alone(images), images)
    for one, image in zip(changed, images, strict=True):
        flipped = [image, image[::-1], image[:, ::-1], image[::-1, ::-1]]
        assert min(float(np.abs(one - other).max()) for other in flipped) < 1e-5


def test_borders_are_reflected_and_never_black() -> None:
    white = np.ones((8, 8, 8, 3), dtype=np.float32)

    changed = np.asarray(RandomAffine(MODERN.augmentation)(white, training=True))

    np.testing.assert_allclose(changed, 1.0, atol=1e-5)


@pytest.mark.parametrize("recipe", ["classic", "modern"])
@pytest.mark.parametrize("name", ["CNN_v1", "ConvNet_v1"])
def test_a_network_trains_an_epoch_by_either_recipe_and_exports(name: str, recipe: RecipeName, tmp_path: Path) -> None:
    spec = ExperimentSpec(dataset="d", architectures=(name,), recipe=recipe)
    (trial,) = screening(spec).values()
    model = build_model(trial, 8, base_weights=None, seed=1)

    outcome = train(
        model, small_data(), schedule(epochs=1, recipe=RECIPES[recipe]), unguarded(), tmp_path, lambda _: None
    )

    assert len(outcome.epochs) == 1
    assert model.output_shape == (None, 2 if recipe == "classic" else 7)
    export_onnx(model, tmp_path / "model.onnx")
    images = small_split(16).images
    check_parity([model], tmp_path / "model.onnx", images, threshold=0.001)
    expected = malignant_of(model.predict(scaled(images), verbose=0))
    np.testing.assert_allclose(Scorer(tmp_path / "model.onnx")(images), expected, atol=1e-5)
