"""The final figures."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import fbeta_score, precision_score, recall_score

from models_store.contract.figures import Evaluation
from models_store.contract.records import ThresholdDecision
from models_store.contract.specs import CalibrationSpec
from models_store.datasets.labels import CLASS_NAMES
from models_store.datasets.layout import Split, verify_layout
from workers.pipeline.evaluation.evaluation import evaluate
from workers.pipeline.evaluation.figures import ScoresMismatch
from workers.pipeline.evaluation.intervals import clopper_pearson
from workers.pipeline.threshold import choose_threshold

MEL, BCC, AKIEC, NV, BKL = (CLASS_NAMES.index(name) for name in ("mel", "bcc", "akiec", "nv", "bkl"))


def a_split(labels: ArrayLike, lesion_ids: list[str] | None = None) -> Split:
    ids = None if lesion_ids is None else np.array(lesion_ids)
    return Split(np.zeros((np.size(labels), 2, 2, 3), np.uint8), np.asarray(labels, dtype=np.int64), ids)


def at(threshold: float) -> ThresholdDecision:
    spec = CalibrationSpec(policy="fixed", threshold=threshold)
    return choose_threshold(np.array([0.2, 0.8]), np.array([0, 1]), spec)


def a_large_one(lesions: bool = True) -> tuple[NDArray[np.float64], Split]:
    random = np.random.default_rng(0)
    labels = random.choice(7, 1000, p=[0.033, 0.051, 0.11, 0.012, 0.111, 0.669, 0.014])
    malignant = a_split(labels).malignant == 1
    scores = np.where(malignant, random.beta(4, 2, 1000), random.beta(2, 4, 1000))
    return scores, a_split(labels, [f"lesion{i}" for i in random.integers(0, 930, 1000)] if lesions else None)


def test_figures_by_hand() -> None:
    scores = np.array([0.9, 0.7, 0.2, 0.8, 0.3, 0.1])
    evaluation = evaluate(scores, a_split([MEL, MEL, BCC, NV, NV, BKL]), at(0.5), prevalence=0.1)
    assert evaluation.confusion.model_dump() == {"tn": 2, "fp": 1, "fn": 1, "tp": 2}
    assert evaluation.recall == pytest.approx(2 / 3)
    assert evaluation.specificity == pytest.approx(2 / 3)
    assert evaluation.precision == pytest.approx(2 / 3)
    assert evaluation.roc_auc == pytest.approx(6 / 9)
    assert evaluation.ppv == pytest.approx(0.1 * 2 / 3 / (0.1 * 2 / 3 + 0.9 / 3))
    assert evaluation.npv == pytest.approx(0.9 * 2 / 3 / (0.9 * 2 / 3 + 0.1 / 3))
    assert [miss.model_dump() for miss in evaluation.confident_misses] == [
        {"index": 2, "diagnosis": "bcc", "probability": 0.2}
    ]


def test_rates_equal_those_of_scikit_learn() -> None:
    scores, split = a_large_one()
    evaluation = evaluate(scores, split, at(0.4))
    called = scores >= 0.4
    assert evaluation.recall == pytest.approx(recall_score(split.malignant, called))
    assert evaluation.precision == pytest.approx(precision_score(split.malignant, called))
    assert evaluation.f1 == pytest.approx(fbeta_score(split.malignant, called, beta=1))
    assert evaluation.f2 == pytest.approx(fbeta_score(split.malignant, called, beta=2))


def test_a_score_at_the_threshold_is_called_malignant() -> None:
    assert evaluate(np.array([0.5, 0.1]), a_split([MEL, NV]), at(0.5)).recall == 1.0


def test_recall_is_reported_first() -> None:
    scores, split = a_large_one()
    evaluation = evaluate(scores, split, at(0.4))
    assert next(iter(evaluation.model_dump())) == "recall"
    assert next(iter(evaluation.intervals)) == "recall"


def test_every_figure_lies_in_its_interval() -> None:
    scores, split = a_large_one()
    evaluation = evaluate(scores, split, at(0.4))
    assert len(evaluation.intervals) == 10
    for name, interval in evaluation.intervals.items():
        assert interval is not None
        assert interval.low <= getattr(evaluation, name) <= interval.high, name
        assert interval.low < interval.high


def test_melanoma_comes_first_then_the_other_malignant_diagnoses() -> None:
    scores, split = a_large_one()
    diagnoses = evaluate(scores, split, at(0.4)).diagnoses
    assert [d.diagnosis for d in diagnoses][:3] == ["mel", "bcc", "akiec"]
    assert [d.malignant for d in diagnoses] == [True] * 3 + [False] * 4
    melanoma = split.labels == MEL
    assert diagnoses[0].images == melanoma.sum()
    assert diagnoses[0].rate == pytest.approx(np.mean(scores[melanoma] >= 0.4))
    nevi = next(d for d in diagnoses if d.diagnosis == "nv")
    assert nevi.rate == pytest.approx(np.mean(scores[split.labels == NV] < 0.4))
    assert sum(d.images for d in diagnoses) == 1000


def test_a_diagnosis_nobody_has_is_left_out() -> None:
    diagnoses = evaluate(np.array([0.9, 0.1]), a_split([BCC, NV]), at(0.5)).diagnoses
    assert [d.diagnosis for d in diagnoses] == ["bcc", "nv"]


def test_the_leak_free_part_holds_only_lesions_that_training_never_saw() -> None:
    # Given two images of a lesion in train, scored perfectly, and four others, scored wrongly
    scores = np.array([1.0, 0.0, 0.1, 0.1, 0.9, 0.9])
    split = a_split([MEL, NV, MEL, MEL, NV, NV], ["seen1", "seen2", "a", "b", "c", "d"])
    # When they are evaluated against train's lesions
    evaluation = evaluate(scores, split, at(0.5), train_lesions={"seen1", "seen2", "elsewhere"})
    # Then the leak is counted and the rest shows what the model can do
    assert evaluation.leaking_images == 2
    assert evaluation.leak_free is not None
    assert (evaluation.leak_free.images, evaluation.leak_free.recall, evaluation.leak_free.roc_auc) == (4, 0.0, 0.0)
    assert evaluation.recall == pytest.approx(1 / 3)


def test_a_lesion_is_found_if_every_malignant_image_of_it_is_called_malignant() -> None:
    # Given lesion a found on both images, b missed on one of three, c with a benign image below the threshold
    labels, ids = [MEL, MEL, MEL, MEL, MEL, MEL, NV, NV], ["a", "a", "b", "b", "b", "c", "c", "d"]
    scores = np.array([0.9, 0.5, 0.8, 0.2, 0.8, 0.7, 0.1, 0.6])
    found = evaluate(scores, a_split(labels, ids), at(0.5)).lesion_recall
    assert found is not None
    assert (found.found, found.lesions, found.recall) == (2, 3, 2 / 3)
    assert found.interval == clopper_pearson(2, 3)


def test_lesions_found_are_unknown_without_ids_or_malignant_images() -> None:
    scores = np.array([0.9, 0.1])
    assert evaluate(scores, a_split([MEL, NV]), at(0.5)).lesion_recall is None
    assert evaluate(scores, a_split([NV, NV], ["a", "b"]), at(0.5)).lesion_recall is None


@pytest.mark.parametrize("train_lesions", [None, ["lesion1"]])
def test_without_lesion_ids_there_are_no_figures_on_leaks(train_lesions: list[str] | None) -> None:
    scores, split = a_large_one(lesions=False)
    evaluation = evaluate(scores, split, at(0.4), train_lesions=train_lesions)
    assert (evaluation.lesions, evaluation.leaking_images, evaluation.leak_free) == (None, None, None)


def test_a_test_set_that_leaks_wholly_has_no_leak_free_part() -> None:
    evaluation = evaluate(np.array([0.9, 0.1]), a_split([MEL, NV], ["a", "b"]), at(0.5), train_lesions=["a", "b"])
    assert (evaluation.leaking_images, evaluation.leak_free) == (2, None)


def test_figures_at_one_half_are_shown_with_those_at_the_threshold() -> None:
    scores, split = a_large_one()
    evaluation = evaluate(scores, split, at(0.3))
    assert (evaluation.threshold, evaluation.at_half.threshold) == (0.3, 0.5)
    assert evaluation.at_half.recall == pytest.approx(np.mean(scores[split.malignant == 1] >= 0.5))
    assert evaluation.at_half.roc_auc == evaluation.roc_auc


def test_the_worst_misses_come_first_and_no_more_than_a_page_of_them() -> None:
    scores, split = a_large_one()
    misses = evaluate(scores, split, at(0.6)).confident_misses
    assert len(misses) == 12
    assert [miss.probability for miss in misses] == sorted(miss.probability for miss in misses)
    assert misses[0].probability == scores[split.malignant == 1].min()
    assert all(split.malignant[miss.index] == 1 and scores[miss.index] < 0.6 for miss in misses)


@pytest.mark.parametrize(("labels", "absent"), [([MEL, AKIEC], "specificity"), ([NV, BKL], "recall")])
def test_figures_of_a_class_that_is_absent_are_none_and_the_rest_stands(labels: list[int], absent: str) -> None:
    evaluation = evaluate(np.array([0.9, 0.1]), a_split(labels), at(0.5))
    assert getattr(evaluation, absent) is None
    assert evaluation.roc_auc is None
    assert evaluation.curve == ()
    assert evaluation.intervals[absent] is None


def test_a_rule_that_calls_nothing_malignant_has_no_precision() -> None:
    evaluation = evaluate(np.array([0.4, 0.1]), a_split([MEL, NV]), at(0.9))
    assert (evaluation.recall, evaluation.specificity, evaluation.precision) == (0.0, 1.0, None)


@pytest.mark.parametrize("scores", [np.array([0.5]), np.array([0.5, np.nan]), np.array([0.5, 1.5])])
def test_scores_of_something_else_are_refused(scores: NDArray[np.float64]) -> None:
    with pytest.raises(ScoresMismatch, match="2 images"):
        evaluate(scores, a_split([MEL, NV]), at(0.5))


def test_diagnoses_and_groups_are_measured_where_they_are_given() -> None:
    scores, split = a_large_one()
    probabilities = np.full((1000, 7), 1 / 7)
    columns = {"sex": np.repeat(["female", "male"], 500)}
    plain = evaluate(scores, split, at(0.4))
    full = evaluate(scores, split, at(0.4), probabilities=probabilities, columns=columns)
    assert (plain.seven, plain.groupings) == (None, ())
    assert full.seven is not None
    assert full.seven.macro_auc == 0.5
    assert [grouping.column for grouping in full.groupings] == ["sex"]
    assert plain == full.model_copy(update={"seven": None, "groupings": ()})
    assert Evaluation.model_validate(json.loads(full.model_dump_json())) == full


def test_the_same_arguments_give_the_same_figures_and_json_keeps_them() -> None:
    scores, split = a_large_one()
    first, again = (evaluate(scores, split, at(0.4), train_lesions=["lesion1"], seed=7) for _ in range(2))
    assert first == again
    assert Evaluation.model_validate(json.loads(first.model_dump_json())) == first


def test_the_real_test_set_leaks_695_images(real_data: Path) -> None:
    layout = verify_layout(real_data)
    assert layout.lesion_ids is not None
    split = Split(np.zeros((2005, 1, 1, 3), np.uint8), layout.labels["test"], layout.lesion_ids["test"])
    scores = np.random.default_rng(0).uniform(size=2005)
    evaluation = evaluate(scores, split, at(0.4), train_lesions=layout.lesion_ids["train"].tolist())
    assert (evaluation.images, evaluation.malignant_images, evaluation.lesions) == (2005, 392, 1868)
    assert evaluation.leaking_images == 695
