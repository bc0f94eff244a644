"""Two models beside each other: the same figures with their intervals, and what may be concluded from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_store.tables import Model
from models_store.wording import AT_THE_SAMPLE, FigureRow, figure_rows


@dataclass(frozen=True)
class Comparison:
    """`rows` pair the figures of `a` and `b`, recall first; empty where a model lacks them."""

    a: Model
    b: Model
    rows: list[tuple[FigureRow, FigureRow]]

    @property
    def same_test_set(self) -> bool:
        return self.a.dataset_sha256 == self.b.dataset_sha256

    @property
    def meaning(self) -> str:
        """What a reader may conclude, in one or two sentences."""
        if self.a.version == self.b.version:
            return "Both sides are the same model."
        if not self.same_test_set:
            return (
                f"They were tested on different data sets ({self.a.dataset} and {self.b.dataset}), so no figure of one "
                "can be compared with that of the other."
            )
        return (
            f"Both were tested on the same images of {self.a.dataset}. {_about_recall(self.a.metrics, self.b.metrics)} "
            "Choosing between them by these figures is selection on the test set."
        )


def compare(a: Model, b: Model) -> Comparison:
    complete = all(model.metrics.get("confusion") and model.metrics.get("intervals") for model in (a, b))
    rows = list(zip(figure_rows(a.metrics), figure_rows(b.metrics), strict=True)) if complete else []
    return Comparison(a, b, [row for row in rows if row[0].name in AT_THE_SAMPLE])


def _about_recall(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    """Two intervals that share no value differ; two that do may still differ, so that is not said to be equality."""
    limits = [figures.get("intervals", {}).get("recall") for figures in (a, b)]
    if not all(limits):
        return "The interval of a recall is missing, so the two cannot be told apart."
    for letter, one, other in (("A", *limits), ("B", *reversed(limits))):
        if one["low"] > other["high"]:
            return f"The intervals of recall do not overlap: {letter} finds more."
    return "The intervals of recall overlap: these images do not show that one finds more than the other."
