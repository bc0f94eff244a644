"""The published run of the same study, and how far its figures may be held against others."""

from collections.abc import Mapping
from typing import Any

from models_store import wording
from workers.pipeline.figures import Confusion, exact_intervals

Json = Mapping[str, Any]

# DermaMNIST's official split, 28x28, a custom CNN; its threshold came without a guarantee, its AUC without an interval.
PUBLISHED = Confusion(tn=1026, fp=587, fn=33, tp=359)
PUBLISHED_ROC_AUC = 0.877


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
