"""Which of two tested models should answer."""

import pytest

from models_store.experiment.promotion import PromotionPolicy, beats

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
