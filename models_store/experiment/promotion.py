"""Whether a finished model replaces the champion automatically, by the figures of both on one test set."""

from collections.abc import Mapping
from typing import Any, Literal

PromotionPolicy = Literal["target_recall", "recall", "f2", "roc_auc"]
DEFAULT_POLICY: PromotionPolicy = "target_recall"


def beats(
    policy: PromotionPolicy, challenger: Mapping[str, Any], champion: Mapping[str, Any], target_recall: float
) -> bool:
    """Compares two models' test figures, each with recall, specificity, f2 and roc_auc in [0, 1]. Equal is not better.

    `target_recall`: recall counts up to `target_recall`, and specificity decides between two that reach it. The others
    rank by the figure they name, then by specificity: `recall` alone prefers a model that calls everything malignant.
    """

    def rank(figures: Mapping[str, Any]) -> tuple[float, float]:
        first = min(figures["recall"], target_recall) if policy == "target_recall" else figures[policy]
        return first, figures["specificity"]

    return rank(challenger) > rank(champion)
