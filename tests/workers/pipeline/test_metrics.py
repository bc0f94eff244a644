"""Figures against hand-made tables and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as sk

from workers.pipeline.training.epoch_metrics import FigureUndefined, binary_metrics


def test_figures_of_a_worked_example() -> None:
    # Given 4 malignant and 6 benign images, 3 and 1 of which score at least 0.5
    scores = [0.9, 0.8, 0.5, 0.3, 0.7, 0.4, 0.3, 0.2, 0.1, 0.0]
    malignant = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]

    figures = binary_metrics(scores, malignant)

    assert figures["recall"] == 3 / 4
    assert figures["specificity"] == 5 / 6
    assert figures["precision"] == 3 / 4
    assert figures["f1"] == pytest.approx(0.75)
    assert figures["f2"] == pytest.approx(0.75)
    # To reach 0.90 all four are needed, so the threshold is 0.3; 0.7, 0.4 and one of the 0.3 are lost with it.
    assert figures["specificity_at_recall"] == pytest.approx(3 / 6)


@pytest.mark.parametrize(
    ("target", "specificity"), [(0.25, 1.0), (0.5, 1.0), (0.51, 5 / 6), (0.75, 5 / 6), (0.76, 3 / 6), (1.0, 3 / 6)]
)
def test_specificity_at_recall_takes_the_highest_threshold_that_reaches_the_target(
    target: float, specificity: float
) -> None:
    scores = [0.9, 0.8, 0.5, 0.3, 0.7, 0.4, 0.3, 0.2, 0.1, 0.0]
    malignant = [1, 1, 1, 1, 0, 0, 0, 0, 0, 0]

    assert binary_metrics(scores, malignant, target_recall=target)["specificity_at_recall"] == pytest.approx(
        specificity
    )


@pytest.mark.parametrize("digits", [1, 2, 6], ids=lambda digits: f"scores of {digits} digits")
def test_figures_agree_with_scikit_learn_also_for_ties(digits: int) -> None:
    rng = np.random.default_rng(digits)
    malignant = rng.random(400) < 0.2
    scores = np.clip(rng.normal(np.where(malignant, 0.6, 0.4), 0.2), 0.01, 0.99).round(digits)
    called = scores >= 0.5

    figures = binary_metrics(scores, malignant)

    assert figures["recall"] == pytest.approx(sk.recall_score(malignant, called))
    assert figures["specificity"] == pytest.approx(sk.recall_score(~malignant, ~called))
    assert figures["precision"] == pytest.approx(sk.precision_score(malignant, called))
    assert figures["f1"] == pytest.approx(sk.fbeta_score(malignant, called, beta=1))
    assert figures["f2"] == pytest.approx(sk.fbeta_score(malignant, called, beta=2))
    assert figures["auc"] == pytest.approx(sk.roc_auc_score(malignant, scores))
    assert figures["pr_auc"] == pytest.approx(sk.average_precision_score(malignant, scores))
    assert figures["loss"] == pytest.approx(sk.log_loss(malignant, scores))
    false_positive_rate, recall, _ = sk.roc_curve(malignant, scores, drop_intermediate=False)
    assert figures["specificity_at_recall"] == pytest.approx(1 - false_positive_rate[np.argmax(recall >= 0.9)])


@pytest.mark.parametrize(
    ("score", "recall", "specificity", "precision"), [(1.0, 1, 0, 0.25), (0.5, 1, 0, 0.25), (0.0, 0, 1, 0)]
)
def test_constant_scores_give_finite_figures(score: float, recall: float, specificity: float, precision: float) -> None:
    figures = binary_metrics(np.full(8, score), [1, 1, 0, 0, 0, 0, 0, 0])

    assert all(np.isfinite(list(figures.values())))
    assert (figures["recall"], figures["specificity"], figures["precision"]) == (recall, specificity, precision)
    assert figures["auc"] == 0.5
    assert figures["pr_auc"] == 0.25
    assert figures["specificity_at_recall"] == 0


@pytest.mark.parametrize(
    ("scores", "malignant", "finding"),
    [
        ([0.1, 0.2], [0, 0], "0 of 2 images are malignant"),
        ([0.1, 0.2], [1, 1], "2 of 2 images are malignant"),
        ([0.1, float("nan")], [0, 1], "not finite"),
        ([0.1, 0.2, 0.3], [0, 1], r"shape \(N,\)"),
    ],
)
def test_invalid_samples_are_refused(scores: list[float], malignant: list[int], finding: str) -> None:
    with pytest.raises(FigureUndefined, match=finding):
        binary_metrics(scores, malignant)
