"""Seven diagnoses, measured."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, roc_auc_score

from models_store.datasets.labels import CLASS_NAMES
from workers.pipeline.evaluation.diagnosis_table import diagnosis_table
from workers.pipeline.evaluation.figures import ScoresMismatch

Sample = tuple[NDArray[np.float64], NDArray[np.int64]]


def a_sample(images: int = 700, seed: int = 0) -> Sample:
    random = np.random.default_rng(seed)
    labels = np.arange(images) % 7
    logits = random.normal(size=(images, 7)) + 1.5 * np.eye(7)[labels]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), labels


def test_accuracy_confusion_and_macro_auc_equal_those_of_scikit_learn() -> None:
    probabilities, labels = a_sample()
    table = diagnosis_table(probabilities, labels)
    called = probabilities.argmax(axis=1)
    assert table.diagnoses == CLASS_NAMES
    assert table.accuracy == pytest.approx(accuracy_score(labels, called))
    assert table.confusion == tuple(map(tuple, confusion_matrix(labels, called, labels=range(7)).tolist()))
    assert table.macro_auc == pytest.approx(roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"))


def test_both_figures_lie_in_their_intervals_and_the_same_seed_gives_the_same() -> None:
    table, again = (diagnosis_table(*a_sample(), seed=3) for _ in range(2))
    assert table == again
    assert table.macro_auc is not None
    assert table.macro_auc_interval is not None
    assert table.accuracy_interval.low < table.accuracy < table.accuracy_interval.high
    assert table.macro_auc_interval.low < table.macro_auc < table.macro_auc_interval.high


def test_repeated_photographs_of_a_lesion_add_no_certainty_to_the_auc() -> None:
    # Given 210 images, each of them there four times under one lesion id
    probabilities, labels = (np.tile(part, (4, 1))[: 4 * 210] for part in (a_sample(210)[0], a_sample(210)[1][:, None]))
    lesions = np.tile([f"lesion{i}" for i in range(210)], 4)
    # When the interval is drawn by image and by lesion
    by_image = diagnosis_table(probabilities, labels.ravel()).macro_auc_interval
    by_lesion = diagnosis_table(probabilities, labels.ravel(), lesion_ids=lesions).macro_auc_interval
    # Then only the first counts the copies as evidence
    assert by_image is not None
    assert by_lesion is not None
    assert by_lesion.high - by_lesion.low > 1.5 * (by_image.high - by_image.low)


def test_an_absent_diagnosis_leaves_no_macro_auc_and_the_accuracy_stands() -> None:
    probabilities, labels = a_sample()
    kept = labels != 3
    table = diagnosis_table(probabilities[kept], labels[kept])
    assert (table.macro_auc, table.macro_auc_interval) == (None, None)
    assert table.accuracy == pytest.approx(accuracy_score(labels[kept], probabilities[kept].argmax(axis=1)))


@pytest.mark.parametrize("probabilities", [np.full((3, 7), 0.1), np.full((2, 2), 0.5), np.full((2, 7), np.nan)])
def test_probabilities_of_something_else_are_refused(probabilities: NDArray[np.float64]) -> None:
    with pytest.raises(ScoresMismatch, match="7 diagnoses of 2 images"):
        diagnosis_table(probabilities, np.array([0, 1]))
