"""What every run function shares: claims, errors, and the lock, the events and the progress of an experiment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from models_store.contract.outcomes import Epoch
from models_store.contract.specs import ExperimentSpec
from models_store.database import now
from models_store.experiment.phases import epochs_of, planned_trials
from models_store.tables import Event, Experiment, Trial

UNFINISHED = ("queued", "running", "cancelling")
ClaimState = Literal["ours", "cancelling", "lost"]


@dataclass(frozen=True)
class Claim:
    """The right of one worker to run one trial once. `fence` is the token that guards every later write."""

    trial_id: str
    experiment_id: str
    fence: int
    attempt: int
    kind: str


class LeaseLost(RuntimeError):
    """The claim on a trial has expired or ended, so its worker must write nothing more about the trial."""


class ExperimentNotFound(LookupError):
    """No experiment has that id, or it was deleted."""


class IdempotencyKeyReused(ValueError):
    """The same Idempotency-Key arrived with another experiment."""


def find_experiment(session: Session, experiment_id: str, *, deleted: bool = False, **options: Any) -> Experiment:
    """`options` are those of `Session.get`.

    Raises `ExperimentNotFound`, also for a deleted experiment unless `deleted` allows it.
    """
    experiment = session.get(Experiment, experiment_id, **options)
    if experiment is None:
        raise ExperimentNotFound(f"there is no experiment {experiment_id}")
    if experiment.deleted_at is not None and not deleted:
        raise ExperimentNotFound(
            f"experiment {experiment_id} was deleted by {experiment.deleted_by} at {experiment.deleted_at.isoformat()}"
        )
    return experiment


def lock(session: Session, experiment_id: str, *, deleted: bool = False) -> Experiment:
    """The experiment, its row locked until the transaction ends. Raises `ExperimentNotFound` as `find_experiment`."""
    session.flush()
    return find_experiment(session, experiment_id, deleted=deleted, with_for_update=True, populate_existing=True)


def trials_of(session: Session, experiment_id: str) -> list[Trial]:
    """The trials of an experiment by phase and position, as the database holds them now."""
    chosen = select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.phase, Trial.position)
    return list(session.scalars(chosen.execution_options(populate_existing=True)))


def add_event(session: Session, experiment_id: str, kind: str, data: Mapping[str, Any]) -> None:
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


def add_trial_event(session: Session, claim: Claim, status: str, **details: Any) -> None:
    add_event(session, claim.experiment_id, "trial", {"trial_id": claim.trial_id, "status": status, **details})


def add_epoch_event(session: Session, claim: Claim, epoch: Epoch) -> None:
    values = epoch.model_dump(exclude={"kind", "seconds"})
    add_event(session, claim.experiment_id, "epoch", {"trial_id": claim.trial_id, **values})


def refresh_progress(session: Session, experiment_id: str) -> None:
    """Share of the experiment's trials that are done, a running one counted by its epochs. Never moves back."""
    experiment = lock(session, experiment_id)
    spec = ExperimentSpec.model_construct(**experiment.spec)  # a spec of an older version must not hold up a record
    chosen = select(Trial).where(Trial.experiment_id == experiment_id)
    trials = session.scalars(chosen.options(load_only(Trial.status, Trial.epochs_done, Trial.spec)))
    done = sum(
        min(trial.epochs_done / epochs_of(trial, spec), 1.0) if trial.status in UNFINISHED else 1.0 for trial in trials
    )
    experiment.progress = max(experiment.progress, min(done / planned_trials(spec), 1.0))
