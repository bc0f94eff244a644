"""Training a tiny real network."""

from pathlib import Path

import keras
import numpy as np
import pytest

from models_store.contract.outcomes import Epoch
from models_store.contract.recipes import RECIPES
from models_store.contract.specs import SelectionSpec
from models_store.experiment.selection import policy_for, ranked
from tests.workers.pipeline.small_experiment import (
    NUMPY_COPY,
    schedule,
    small_data,
    small_model,
    still_model,
    unguarded,
)
from workers.pipeline.backend import configure
from workers.pipeline.data import scaled
from workers.pipeline.training.augmentation import augmentation
from workers.pipeline.training.epoch_metrics import binary_metrics
from workers.pipeline.training.fitting import malignant_scores, reseed, trainer_of
from workers.pipeline.training.training import TrainingOutcome, train

pytestmark = pytest.mark.filterwarnings(NUMPY_COPY)

METRICS = {
    *("loss", "recall", "specificity", "precision", "auc"),
    *("val_loss", "val_recall", "val_specificity", "val_precision", "val_f1", "val_f2", "val_auc", "val_pr_auc"),
    "val_specificity_at_recall",
}


@pytest.fixture(scope="module", autouse=True)
def deterministic() -> None:
    configure("tensorflow", seed=0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingOutcome, list[Epoch]]:
    seen: list[Epoch] = []
    folder = tmp_path_factory.mktemp("run")
    policy = policy_for(SelectionSpec(min_specificity=0))
    return train(small_model(), small_data(), schedule(), policy, folder, seen.append), seen


def test_every_epoch_is_reported_with_all_its_metrics(run: tuple[TrainingOutcome, list[Epoch]]) -> None:
    outcome, seen = run

    assert tuple(seen) == outcome.epochs
    assert [epoch.number for epoch in seen] == [1, 2, 3, 4]
    assert all(set(epoch.metrics) == METRICS for epoch in seen)
    assert all(np.isfinite(list(epoch.metrics.values())).all() for epoch in seen)
    assert all(epoch.seconds > 0 for epoch in seen)
    assert outcome.ended == "epochs"


def test_the_checkpoint_is_the_best_epoch_by_the_policy(run: tuple[TrainingOutcome, list[Epoch]]) -> None:
    outcome, _ = run
    policy = policy_for(SelectionSpec(min_specificity=0))
    chosen, *_ = ranked(policy, {epoch.number: epoch.metrics for epoch in outcome.epochs})
    assert outcome.best is not None
    assert outcome.checkpoint is not None
    assert outcome.best.number == chosen

    # When the checkpoint is read back
    model = keras.saving.load_model(outcome.checkpoint, compile=False, safe_mode=True)

    # Then it gives the selection split the scores, and hence the metrics, of that epoch, and augments nothing
    scores = model.predict(scaled(small_data().selection.images), verbose=0)[:, 1]
    np.testing.assert_allclose(scores, outcome.selection_scores, atol=1e-6)
    recall = binary_metrics(scores, small_data().selection.malignant)["recall"]
    assert recall == outcome.best.metrics["val_recall"]
    assert not [layer for layer in model.layers if type(layer).__name__.startswith("Random")]


def test_training_learns(tmp_path: Path) -> None:
    policy = policy_for(SelectionSpec(policy="specificity_at_recall"))

    outcome = train(small_model(), small_data(), schedule(epochs=10, patience=10), policy, tmp_path, lambda _: None)

    assert max(epoch.metrics["val_auc"] for epoch in outcome.epochs) > 0.9


def test_the_same_seed_gives_the_same_metrics_and_another_seed_others(tmp_path: Path) -> None:
    def metrics(seed: int, name: str) -> list[dict[str, float]]:
        changed = schedule(epochs=2, seed=seed)
        outcome = train(small_model(), small_data(), changed, unguarded(), tmp_path / name, lambda _: None)
        return [epoch.metrics for epoch in outcome.epochs]

    first = metrics(1, "first")

    assert metrics(1, "again") == first
    assert metrics(2, "other") != first


def test_training_stops_after_patience_epochs_without_a_better_one(tmp_path: Path) -> None:
    # Given a network that learns nothing, so that its first epoch stays the best
    still = schedule(epochs=30, patience=3, learning_rate=1e-12)

    outcome = train(still_model(), small_data(), still, unguarded(), tmp_path, lambda _: None)

    assert (len(outcome.epochs), outcome.ended) == (4, "patience")
    assert outcome.best is not None
    assert outcome.best.number == 1


def test_a_run_without_an_eligible_epoch_is_collapsed(tmp_path: Path) -> None:
    out_of_reach = policy_for(SelectionSpec(min_specificity=0.999999))
    still = schedule(epochs=5, patience=2, learning_rate=1e-12, class_weight={0: 1.0, 1: 5.0})
    model = small_model()
    model.layers[-1].bias.assign([-9.0, 9.0])

    outcome = train(model, small_data(), still, out_of_reach, tmp_path, lambda _: None)

    assert outcome.collapsed == "no epoch of 2 reached validation specificity 1.00; the best was 0.00 at epoch 1"
    assert (outcome.best, outcome.checkpoint, outcome.selection_scores) == (None, None, None)
    assert not (tmp_path / "best.keras").exists()


def test_a_loss_that_is_no_longer_finite_ends_the_run_with_the_reason(tmp_path: Path) -> None:
    exploding = schedule(learning_rate=1e38)

    outcome = train(small_model(), small_data(), exploding, unguarded(), tmp_path, lambda _: None)

    assert outcome.ended == "diverged"
    assert outcome.collapsed is not None
    assert "the loss stopped being finite in epoch 1" in outcome.collapsed


def test_train_recall_is_of_malignant_and_not_accuracy() -> None:
    # Given a network that calls everything malignant, on images a third of which are
    model = small_model()
    model.layers[-1].bias.assign([-50.0, 50.0])
    trainer = trainer_of(model, 1e-12)
    data = small_data().train

    figures = trainer.evaluate(data.images, np.eye(2)[data.malignant], verbose=0, return_dict=True)

    assert figures["recall"] == 1
    assert figures["specificity"] == 0
    assert figures["precision"] == pytest.approx(1 / 3)
    assert figures["auc"] == pytest.approx(0.5)


def test_scores_are_of_the_images_as_they_are() -> None:
    model, images = small_model(), small_data().selection.images
    trainer = trainer_of(model, 0.001)

    np.testing.assert_allclose(malignant_scores(trainer, images), model(scaled(images))[:, 1], atol=1e-6)


def test_augmentation_changes_images_only_while_training_and_anew_each_epoch() -> None:
    layers = keras.Sequential([keras.Input((8, 8, 3)), *augmentation(RECIPES["classic"].augmentation)])
    images = scaled(small_data().train.images)

    def augmented(epoch: int) -> np.ndarray:
        reseed(layers, seed=5, epoch=epoch)
        return np.asarray(layers(images, training=True))

    np.testing.assert_array_equal(layers(images, training=False), images)
    np.testing.assert_array_equal(augmented(1), augmented(1))
    assert np.abs(augmented(1) - augmented(2)).mean() > 0.01
    assert np.abs(augmented(1) - images).mean() > 0.01
