"""Whether a finished model becomes the champion, by the figures of both on one test set, and why."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models_store.wording import against

PromotionPolicy = Literal["target_recall", "recall", "f2", "roc_auc"]
DEFAULT_POLICY: PromotionPolicy = "target_recall"
LABELS = {"recall": "recall", "specificity": "specificity", "f2": "F2", "roc_auc": "ROC AUC"}

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class Contender:
    """A model with the sha256 of the data set that it was tested on, and its test figures."""

    version: str
    dataset_sha256: str
    figures: Figures


@dataclass(frozen=True)
class Promotion:
    """Whether a model was promoted, and why or why not. What was compared is None where nothing was."""

    promoted: bool
    reason: str
    policy: PromotionPolicy | None = None
    champion: str | None = None
    figures: dict[str, float] | None = None
    champion_figures: dict[str, float] | None = None


def decide(
    requested: Literal["never", "if_better", "always"],
    policy: PromotionPolicy,
    finished: Contender,
    champion: Contender | None,
    target_recall: float,
) -> Promotion | None:
    """None where `requested` is never. A champion of another data set is not comparable and stays."""
    if requested == "never":
        return None
    if requested == "always" or champion is None:
        why = "asked for by the experiment" if requested == "always" else "there was no champion"
        recall, specificity = (finished.figures[name] for name in ("recall", "specificity"))
        return Promotion(True, f"{why}: test recall {recall:.3f}, specificity {specificity:.3f}")
    if champion.dataset_sha256 != finished.dataset_sha256:
        reason = f"the champion {champion.version} was tested on another test set, so the two cannot be compared"
        return Promotion(False, reason, champion=champion.version)
    promoted = beats(policy, finished.figures, champion.figures, target_recall)
    verb = "beats" if promoted else "does not beat"
    compared = (_first(policy), "specificity")
    shown = ", ".join(f"{LABELS[name]} {against(finished.figures[name], champion.figures[name])}" for name in compared)
    return Promotion(
        promoted,
        f"{verb} {champion.version} by {policy} ({_rule(policy, target_recall)}) on the same test set: {shown}",
        policy,
        champion.version,
        *({name: figures[name] for name in compared} for figures in (finished.figures, champion.figures)),
    )


def beats(policy: PromotionPolicy, challenger: Figures, champion: Figures, target_recall: float) -> bool:
    """Compares two models' test figures, each with recall, specificity, f2 and roc_auc in [0, 1]. Equal is not better.

    `target_recall`: recall counts up to `target_recall`, and specificity decides between two that reach it. The others
    rank by the figure they name, then by specificity: `recall` alone prefers a model that calls everything malignant.
    """

    def rank(figures: Figures) -> tuple[float, float]:
        first = figures[_first(policy)]
        return min(first, target_recall) if policy == "target_recall" else first, figures["specificity"]

    return rank(challenger) > rank(champion)


def _first(policy: PromotionPolicy) -> str:
    return "recall" if policy == "target_recall" else policy


def _rule(policy: PromotionPolicy, target_recall: float) -> str:
    first = f"recall up to {target_recall:g}" if policy == "target_recall" else LABELS[policy]
    return f"{first}, then specificity"
