"""The published study: its figures, how far they may be held against others, and what was seen before."""

from collections.abc import Mapping
from typing import Any

from models_store import wording
from models_store.contract.figures import Confusion
from workers.pipeline.evaluation.figures import exact_intervals

Json = Mapping[str, Any]

# DermaMNIST's official split, 28x28, a custom CNN; its threshold came without a guarantee, its AUC without an interval.
PUBLISHED = Confusion(tn=1026, fp=587, fn=33, tp=359)
PUBLISHED_ROC_AUC = 0.877

# Looks at a test set that the record of a later experiment cannot know of. Add to it, take nothing away.
EARLIER_LOOKS = {
    "ham10000_28": (
        "2026-11-24: the preset `laptop` when it still ranked by `val_recall`, seed 42, winner CNN_v1/HighDropout: "
        "recall 0.893 (350 of 392), specificity 0.616 (993 of 1,613), ROC AUC 0.848. The selection figures alone would "
        "have said why (one image of recall outweighed 0.05 of AUC), but the preset was changed after this look, not "
        "before it.",
        "The measurements of docs/selection.md and docs/guarantee.md score this test set too, with networks and seeds "
        "of their own.",
    )
}


def comparability(dataset: str, test: Json) -> str:
    """In words, whether the published figures may be held against these."""
    benign = test["images"] - test["malignant_images"]
    same_counts = (test["malignant_images"], benign) == (PUBLISHED.tp + PUBLISHED.fn, PUBLISHED.tn + PUBLISHED.fp)
    if dataset == "dermamnist":
        return "Both columns are on the official file and split; method, seed and threshold differ."
    if same_counts:
        return (
            f"Comparable with, **not equal to**: `{dataset}` holds as many malignant and benign test images as the "
            "official split of DermaMNIST, but it is another file with its own assignment of images to splits."
        )
    return f"**Not comparable:** `{dataset}` has another test set than the official split of DermaMNIST."


def published_figures() -> dict[str, str]:
    """The published run in the words of the other column; intervals, F1 and F2 follow from its counts."""
    tp, fn, fp, tn = PUBLISHED.tp, PUBLISHED.fn, PUBLISHED.fp, PUBLISHED.tn
    rates = {"recall": tp / (tp + fn), "specificity": tn / (tn + fp), "precision": tp / (tp + fp)}
    intervals = {name: limits.model_dump() for name, limits in exact_intervals(PUBLISHED).items() if limits}
    rows = wording.figure_rows({**rates, "confusion": PUBLISHED.model_dump(), "intervals": intervals}, tuple(rates))
    return {row.name: row.cell for row in rows} | {
        "f1": wording.rate(2 * tp / (2 * tp + fp + fn)),
        "f2": wording.rate(5 * tp / (5 * tp + fp + 4 * fn)),
        "roc_auc": wording.rate(PUBLISHED_ROC_AUC),
    }
