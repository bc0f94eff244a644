"""The ranking of an experiment's trials: the figure that ranks them, and a sentence on why the first is first.

Pages, report and command line use both. All figures are of the selection images.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from models_store.contract.specs import ExperimentSpec, SelectionSpec
from models_store.experiment.selection import Policy, policy_for, ranked
from models_store.wording import against, rate, target


class Finished(Protocol):
    """A trial, as a row or as an answer of the API."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def metrics(self) -> dict[str, Any] | None: ...


Trial = TypeVar("Trial", bound=Finished)


@dataclass(frozen=True)
class Ranking:
    """How the trials of one experiment are ranked."""

    policy: Policy
    target_recall: float

    @classmethod
    def of(cls, spec: ExperimentSpec) -> "Ranking":
        return cls(policy_for(spec.selection), spec.calibration.target_recall)

    @classmethod
    def of_answer(cls, spec: Mapping[str, Any]) -> "Ranking":
        """From a specification as the API answers it, with every default filled in."""
        selection = SelectionSpec.model_validate(spec["selection"])
        return cls(policy_for(selection), spec["calibration"]["target_recall"])

    @property
    def metric(self) -> str:
        """The metric that ranks; the others of the policy break ties."""
        return self.policy.keys[0]

    @property
    def label(self) -> str:
        return self._label(self.metric)

    def order(self, trials: Sequence[Trial]) -> list[Trial]:
        """The trials that can win, the best first; equals keep their order."""
        trained = {trial.id: trial for trial in trials if trial.kind == "train" and trial.status == "succeeded"}
        measured = {key: trial.metrics for key, trial in trained.items() if trial.metrics}
        return [trained[key] for key in ranked(self.policy, measured)]

    def figure(self, trial: Finished) -> str:
        """The figure that ranks the trial, such as `recall 0.912`."""
        return f"{self.label} {rate(_exact(trial, self.metric))}"

    def why_first(self, trials: Sequence[Trial]) -> str | None:
        """One sentence; None while no trial can win."""
        order = self.order(trials)
        if not order:
            return None
        first, others = order[0], order[1:]
        if not others:
            return (
                f"{first.name} is first with {self.figure(first)}: no other trial has finished with an eligible epoch."
            )
        second = others[0]
        deciding = next((key for key in self.policy.keys if _exact(first, key) != _exact(second, key)), None)
        if deciding == self.metric:
            compared = f"{_compared(first, second, deciding)} of {second.name}"
            return f"{first.name} is first of {len(order)}: it has the highest {self.label}, {compared}, the second."
        tie = f"{first.name} is first of {len(order)}: with {self.figure(first)} it equals {second.name}"
        if deciding is None:
            return f"{tie}, and the earlier of equals is first."
        return f"{tie}, and its {self._label(deciding)} is higher, {_compared(first, second, deciding)}."

    def _label(self, metric: str) -> str:
        labels = {"val_recall": "recall", "val_f2": "F2", "val_auc": "ROC AUC"}
        return labels.get(metric, f"specificity at recall {target(self.target_recall)}")


def _exact(trial: Finished, metric: str) -> float:
    return float((trial.metrics or {})[metric])


def _compared(first: Finished, second: Finished, metric: str) -> str:
    return against(_exact(first, metric), _exact(second, metric))
