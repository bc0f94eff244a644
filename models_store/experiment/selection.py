"""Which epoch of a trial, and which trial of a phase, is best. Imports no Keras.

One rule serves early stopping, the checkpoint, Phase 1 and Phase 2. It sees the selection split alone.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from models_store.contract.specs import SelectionSpec

Metrics = Mapping[str, float]
Candidate = TypeVar("Candidate", bound=Hashable)

# At the target recall a collapsed network calls every benign image malignant, and a weak one at least one in a hundred
# of them benign.
MIN_SPECIFICITY_AT_RECALL = 0.01


@dataclass(frozen=True)
class Gate:
    """A metric that has to be at or above a floor."""

    metric: str
    floor: float


@dataclass(frozen=True)
class Policy:
    """Compare candidates by `keys` in order, greater is better; those that fail the gate do not take part."""

    name: str
    keys: tuple[str, ...]
    gate: Gate | None

    def rank(self, metrics: Metrics) -> tuple[float, ...] | None:
        """The candidate's rank, greater is better, or None if it is not eligible."""
        if self.gate is not None and metrics[self.gate.metric] < self.gate.floor:
            return None
        return tuple(metrics[key] for key in self.keys)


def policy_for(spec: SelectionSpec) -> Policy:
    """The policy that `spec` names.

    `val_recall` alone prefers networks that call everything malignant, hence its floor on specificity;
    `val_recall_unguarded` is that literal rule: the first maximum of val_recall wins.
    """
    floor = Gate("val_specificity", spec.min_specificity)
    match spec.policy:
        case "val_recall":
            return Policy(spec.policy, ("val_recall", "val_auc"), floor)
        case "val_f2":
            return Policy(spec.policy, ("val_f2", "val_auc"), floor)
        case "specificity_at_recall":
            gate = Gate("val_specificity_at_recall", MIN_SPECIFICITY_AT_RECALL)
            return Policy(spec.policy, ("val_specificity_at_recall", "val_auc"), gate)
        case "val_recall_unguarded":
            return Policy(spec.policy, ("val_recall",), None)


def improves(policy: Policy, metrics: Metrics, best: Metrics | None) -> bool:
    """Whether an epoch is eligible and better than the best before it, if there is one; an equal one is not better."""
    rank = policy.rank(metrics)
    best_rank = policy.rank(best) if best is not None else None
    return rank is not None and (best_rank is None or rank > best_rank)


def ranked(policy: Policy, candidates: Mapping[Candidate, Metrics]) -> list[Candidate]:
    """The eligible candidates, the best first; equals keep their order."""
    ranks = {name: policy.rank(metrics) for name, metrics in candidates.items()}
    eligible = {name: rank for name, rank in ranks.items() if rank is not None}
    return sorted(eligible, key=lambda name: eligible[name], reverse=True)


def collapse_reason(policy: Policy, epochs: Sequence[Metrics]) -> str:
    """Why no epoch of a trial was eligible, in words for its record; `epochs` in order, the first being epoch 1."""
    if policy.gate is None or not epochs:
        return f"no epoch of {len(epochs)} could be ranked by {policy.name}"
    values = [epoch[policy.gate.metric] for epoch in epochs]
    metric = policy.gate.metric.replace("val_", "validation ", 1).replace("_", " ")
    return (
        f"no epoch of {len(epochs)} reached {metric} {policy.gate.floor:.2f}; "
        f"the best was {max(values):.2f} at epoch {values.index(max(values)) + 1}"
    )
