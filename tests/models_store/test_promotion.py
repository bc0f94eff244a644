"""Which of two tested models becomes the champion."""

import pytest

from models_store.experiment.promotion import Contender, PromotionPolicy, beats, decide

CHAMPION = {"recall": 0.91, "specificity": 0.60, "f2": 0.70, "roc_auc": 0.87}


@pytest.mark.parametrize(
    ("policy", "changed", "wins"),
    [
        ("target_recall", {"recall": 0.90, "specificity": 0.61}, True),  # both reach 0.90
        ("target_recall", {"recall": 1.00, "specificity": 0.00}, False),  # calls everything malignant
        ("target_recall", {"recall": 0.89, "specificity": 0.99}, False),  # misses the target
        ("target_recall", {}, False),
        ("recall", {"recall": 1.00, "specificity": 0.00}, True),
        ("recall", {"specificity": 0.61}, True),
        ("recall", {"recall": 0.90, "specificity": 0.99}, False),
        ("f2", {"f2": 0.71, "recall": 0.80}, True),
        ("f2", {"f2": 0.69, "recall": 0.99}, False),
        ("roc_auc", {"roc_auc": 0.88, "recall": 0.80}, True),
        ("roc_auc", {"roc_auc": 0.87}, False),
    ],
)
def test_challenger_wins_by_the_policy_alone(policy: PromotionPolicy, changed: dict[str, float], wins: bool) -> None:
    assert beats(policy, CHAMPION | changed, CHAMPION, target_recall=0.90) is wins


def test_below_the_target_the_higher_recall_wins() -> None:
    weak = CHAMPION | {"recall": 0.85}
    assert beats("target_recall", weak | {"recall": 0.86, "specificity": 0.50}, weak, target_recall=0.90)


def a_model(version: str, dataset: str = "a", **changed: float) -> Contender:
    return Contender(version, dataset, CHAMPION | changed)


@pytest.mark.parametrize(
    ("policy", "changed", "promoted", "reason"),
    [
        (
            "target_recall",
            {"recall": 0.93, "specificity": 0.61},
            True,
            "beats old by target_recall (recall up to 0.9, then specificity) on the same test set: recall 0.930 "
            "against 0.910, specificity 0.610 against 0.600",
        ),
        (
            "f2",
            {"f2": 0.69},
            False,
            "does not beat old by f2 (F2, then specificity) on the same test set: F2 0.690 against 0.700, specificity "
            "0.600 against 0.600",
        ),
        (
            "roc_auc",
            {"roc_auc": 0.8701},
            True,
            "beats old by roc_auc (ROC AUC, then specificity) on the same test set: ROC AUC 0.8701 against 0.8700, "
            "specificity 0.600 against 0.600",
        ),
    ],
)
def test_decision_says_what_was_compared_by_what_rule(
    policy: PromotionPolicy, changed: dict[str, float], promoted: bool, reason: str
) -> None:
    decided = decide("if_better", policy, a_model("new", **changed), a_model("old"), target_recall=0.90)
    assert decided is not None
    assert (decided.promoted, decided.reason, decided.policy, decided.champion) == (promoted, reason, policy, "old")
    assert decided.figures is not None
    assert decided.champion_figures is not None
    assert all(decided.figures[name] == (CHAMPION | changed)[name] for name in decided.figures)
    assert all(decided.champion_figures[name] == CHAMPION[name] for name in decided.figures)


def test_reason_names_models_that_cannot_be_compared() -> None:
    elsewhere = decide("if_better", "f2", a_model("new"), a_model("old", dataset="b"), target_recall=0.90)
    first = decide("if_better", "f2", a_model("new"), None, target_recall=0.90)
    always = decide("always", "f2", a_model("new"), a_model("old"), target_recall=0.90)
    assert elsewhere is not None
    assert first is not None
    assert always is not None
    assert (elsewhere.promoted, elsewhere.figures) == (False, None)
    assert elsewhere.reason == "the champion old was tested on another test set, so the two cannot be compared"
    assert (first.promoted, first.reason) == (True, "there was no champion: test recall 0.910, specificity 0.600")
    assert (always.promoted, always.reason) == (
        True,
        "asked for by the experiment: test recall 0.910, specificity 0.600",
    )
    assert decide("never", "f2", a_model("new"), None, target_recall=0.90) is None
