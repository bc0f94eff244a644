"""Which trial is first, by which figure, and the sentence with the reason."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from models_store.contract.specs import ExperimentSpec
from models_store.experiment.ranking import Ranking


@dataclass(frozen=True)
class Ended:
    name: str
    recall: float = 0.9
    auc: float = 0.85
    at_recall: float = 0.6
    specificity: float = 0.7
    kind: str = "train"
    status: str = "succeeded"
    metrics: dict[str, Any] | None = field(init=False)

    def __post_init__(self) -> None:
        measured = {
            "val_recall": self.recall,
            "val_specificity": self.specificity,
            "val_auc": self.auc,
            "val_f2": 0.5,
            "val_specificity_at_recall": self.at_recall,
        }
        object.__setattr__(self, "metrics", measured)

    @property
    def id(self) -> str:
        return self.name


def ranking(policy: str) -> Ranking:
    spec = {"dataset": "synthetic", "selection": {"policy": policy}, "calibration": {"target_recall": 0.95}}
    return Ranking.of(ExperimentSpec.model_validate(spec))


@pytest.mark.parametrize(
    ("policy", "trials", "sentence"),
    [
        (
            "specificity_at_recall",
            [Ended("a", at_recall=0.61), Ended("b", at_recall=0.7123), Ended("c", recall=1.0, at_recall=0.5)],
            "b is first of 3: it has the highest specificity at recall 0.95, 0.712 against 0.610 of a, the second.",
        ),
        (
            "val_recall",
            [Ended("a"), Ended("b", auc=0.88), Ended("c", recall=1.0, specificity=0.05)],
            "b is first of 2: with recall 0.900 it equals a, and its ROC AUC is higher, 0.880 against 0.850.",
        ),
        (
            "val_f2",
            [Ended("a"), Ended("b")],
            "a is first of 2: with F2 0.500 it equals b, and the earlier of equals is first.",
        ),
        (
            "val_recall",
            [Ended("a"), Ended("b", recall=1.0, status="collapsed"), Ended("final", kind="finalize")],
            "a is first with recall 0.900: no other trial has finished with an eligible epoch.",
        ),
        ("val_recall", [Ended("a", status="collapsed"), Ended("b", status="running")], None),
    ],
)
def test_sentence_names_the_deciding_figure(policy: str, trials: list[Ended], sentence: str | None) -> None:
    assert ranking(policy).why_first(trials) == sentence


def test_answer_of_the_api_ranks_as_the_specification_does() -> None:
    spec = ExperimentSpec.model_validate({"dataset": "synthetic", "selection": {"policy": "specificity_at_recall"}})
    assert Ranking.of_answer(spec.model_dump(mode="json")) == Ranking.of(spec)
