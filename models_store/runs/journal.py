"""What every run function shares: values, errors, and the lock, the events and the progress of an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.tables import Event, Experiment, Trial

UNFINISHED = ("queued", "running", "cancelling")
Standing = Literal["ours", "cancelling", "lost"]


@dataclass(frozen=True)
class PlannedTrial:
    """A trial that a phase is about to queue."""

    name: str
    kind: Literal["train", "finalize"]
    queue: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """The right of one worker to run one trial once. `fence` is the token that guards every later write."""

    trial_id: str
    experiment_id: str
    fence: int
    attempt: int
    kind: str


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch, as the trial's process reported it."""

    number: int
    metrics: Mapping[str, float]
    seconds: float
    eligible: bool
    best: bool


@dataclass(frozen=True)
class ResumePoint:
    """Where the store holds what an interrupted trial goes on from, and after how many epochs it was taken."""

    key: str
    sha256: str
    epochs: int


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended by itself."""

    status: Literal["succeeded", "collapsed"]
    best_epoch: int | None = None
    metrics: Mapping[str, Any] | None = None
    checkpoint_key: str | None = None
    checkpoint_sha256: str | None = None
    environment: Mapping[str, Any] | None = None
    reason: str | None = None


class LeaseLost(RuntimeError):
    """Another worker owns the trial now, or nobody does; what this worker knows about it must not be written."""


class ExperimentNotFound(LookupError):
    """No experiment has that id."""


class IdempotencyKeyReused(ValueError):
    """The same Idempotency-Key arrived with another experiment."""


def lock(session: Session, experiment_id: str) -> Experiment:
    session.flush()
    experiment = session.get(Experiment, experiment_id, with_for_update=True, populate_existing=True)
    if experiment is None:
        raise ExperimentNotFound(f"there is no experiment {experiment_id}")
    return experiment


def note(session: Session, experiment_id: str, kind: str, data: Mapping[str, Any]) -> None:
    experiment = lock(session, experiment_id)
    experiment.events += 1
    session.add(
        Event(
            experiment_id=experiment_id,
            number=experiment.events,
            kind=kind,
            data={key: value for key, value in data.items() if value is not None},
            created_at=now(session),
        )
    )


def note_trial(session: Session, claim: Claim, status: str, **details: Any) -> None:
    note(session, claim.experiment_id, "trial", {"trial_id": claim.trial_id, "status": status, **details})


def note_epoch(session: Session, claim: Claim, epoch: EpochReport) -> None:
    data = {"trial_id": claim.trial_id, "number": epoch.number, "metrics": dict(epoch.metrics)}
    note(session, claim.experiment_id, "epoch", {**data, "eligible": epoch.eligible, "best": epoch.best})


def refresh_progress(session: Session, experiment_id: str) -> None:
    """Share of the study's trials that are done, a running one counted by its epochs. Never moves back."""
    experiment = lock(session, experiment_id)
    spec = experiment.spec
    planned = len(spec["architectures"]) * len(spec["class_weights"]) + len(spec["strategies"]) + 1
    trials = session.execute(select(Trial.status, Trial.epochs_done).where(Trial.experiment_id == experiment_id))
    done = sum(min(epochs / spec["epochs"], 1.0) if status in UNFINISHED else 1.0 for status, epochs in trials)
    experiment.progress = max(experiment.progress, min(done / planned, 1.0))
