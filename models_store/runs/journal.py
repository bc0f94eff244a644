"""The lock that orders every change of an experiment, the events that tell of it, and its progress."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.runs.records import UNFINISHED, Claim, EpochReport, ExperimentNotFound
from models_store.tables import Event, Experiment, Trial


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
