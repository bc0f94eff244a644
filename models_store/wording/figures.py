"""The figures of a model in words, each with its interval and its count of images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_store.wording.numbers import interval, rate

FIGURES = {
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
    "f2": "F2 (recall weighs twice)",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC (average precision)",
    "partial_auc": "Partial ROC AUC above a recall of 0.8 (at most 0.2)",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
}
AT_THE_SAMPLE = tuple(name for name in FIGURES if name not in ("ppv", "npv"))


@dataclass(frozen=True)
class FigureRow:
    """One figure in words; `count` is empty where the figure is not a share of images."""

    name: str
    label: str
    value: str
    interval: str
    count: str

    @property
    def cell(self) -> str:
        """All of it in one cell, such as `0.916 (0.884 to 0.941; 359 of 392)`."""
        return f"{self.value} ({self.interval}{f'; {self.count}' if self.count else ''})"


def figure_rows(figures: Mapping[str, Any], names: Sequence[str] = AT_THE_SAMPLE) -> list[FigureRow]:
    """The named figures of a recorded `Figures`, each with its 95 % interval."""
    counts = figure_counts(figures["confusion"])
    return [
        FigureRow(name, FIGURES[name], rate(figures[name]), interval(figures["intervals"][name]), counts.get(name, ""))
        for name in names
    ]


def figure_counts(confusion: Mapping[str, int]) -> dict[str, str]:
    """The three rates as counts of images, such as `359 of 392`."""
    tn, fp, fn, tp = (confusion[name] for name in ("tn", "fp", "fn", "tp"))
    return {
        "recall": f"{tp:,} of {tp + fn:,}",
        "specificity": f"{tn:,} of {tn + fp:,}",
        "precision": f"{tp:,} of {tp + fp:,}",
    }
