"""The life of an experiment: submitted, moved through its phases, ended or cancelled."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.runs.deliveries import owe_delivery
from models_store.runs.journal import UNFINISHED, IdempotencyKeyReused, PlannedTrial, lock, note
from models_store.tables import Experiment, Trial


def submit(session: Session, spec: dict[str, Any], *, key: str | None = None, digest: str | None = None) -> Experiment:
    """Stores a new experiment as queued, or returns the one that the same idempotency key stored before."""
    known = _submitted_before(session, key, digest)
    if known is not None:
        return known
    experiment = Experiment(
        name=spec["name"],
        priority=spec["priority"],
        spec=spec,
        idempotency_key=key,
        idempotency_digest=digest,
        created_at=now(session),
    )
    try:
        with session.begin_nested():
            session.add(experiment)
    except IntegrityError:  # on PostgreSQL the same key may have been stored since the look above
        known = _submitted_before(session, key, digest)
        if known is None:
            raise
        return known
    note(session, experiment.id, "experiment", {"status": "queued"})
    return experiment


def open_phase(session: Session, experiment_id: str, phase: int, trials: Sequence[PlannedTrial]) -> bool:
    """Moves an experiment from the phase before to `phase` and queues its trials; true for exactly one caller."""
    moment = now(session)
    experiment = lock(session, experiment_id)
    if experiment.phase != phase - 1 or experiment.status not in ("queued", "running"):
        return False
    experiment.phase, experiment.status = phase, "running"
    experiment.started_at = experiment.started_at or moment
    session.add_all(
        Trial(
            experiment_id=experiment_id,
            phase=phase,
            position=position,
            name=trial.name,
            kind=trial.kind,
            queue=trial.queue,
            priority=experiment.priority,
            spec=trial.spec,
            created_at=moment,
        )
        for position, trial in enumerate(trials)
    )
    session.flush()
    note(session, experiment_id, "phase", {"phase": phase, "trials": [trial.name for trial in trials]})
    return True


def cancel(session: Session, experiment_id: str) -> Experiment:
    """Cancels what waits at once and asks what runs to stop. A finished experiment stays as it is."""
    experiment = lock(session, experiment_id)
    if experiment.status in ("queued", "running"):
        stop(session, experiment)
    return experiment


def finish_experiment(session: Session, experiment_id: str, result: Mapping[str, Any]) -> bool:
    return _end_experiment(session, experiment_id, {"status": "succeeded", "result": dict(result), "progress": 1.0})


def fail_experiment(session: Session, experiment_id: str, error: Mapping[str, Any]) -> bool:
    return _end_experiment(session, experiment_id, {"status": "failed", "error": dict(error)})


def stop(session: Session, experiment: Experiment) -> None:
    experiment.status = "cancelling"
    session.flush()
    moment = now(session)
    for before, after, ended in (("queued", "cancelled", moment), ("running", "cancelling", None)):
        session.execute(
            update(Trial)
            .where(Trial.experiment_id == experiment.id, Trial.status == before)
            .values(status=after, finished_at=ended)
        )
    note(session, experiment.id, "experiment", {"status": "cancelling"})
    end_if_cancelled(session, experiment.id)
    session.refresh(experiment)


def end_if_cancelled(session: Session, experiment_id: str) -> None:
    """A cancelling experiment ends once none of its trials has a process; a requeued trial goes with it.

    It ends as failed where it was stopped for a reason on record, else as cancelled.
    """
    experiment = lock(session, experiment_id)
    if experiment.status != "cancelling":
        return
    of_it = Trial.experiment_id == experiment_id
    session.execute(
        update(Trial).where(of_it, Trial.status == "queued").values(status="cancelled", finished_at=now(session))
    )
    if session.scalar(select(Trial.id).where(of_it, Trial.status.in_(UNFINISHED)).limit(1)) is None:
        experiment.status = "cancelled" if experiment.error is None else "failed"
        experiment.finished_at = now(session)
        note(session, experiment_id, "experiment", {"status": experiment.status})
        owe_delivery(session, experiment_id, experiment.status)


def _submitted_before(session: Session, key: str | None, digest: str | None) -> Experiment | None:
    if key is None:
        return None
    known = session.scalar(select(Experiment).where(Experiment.idempotency_key == key))
    if known is not None and known.idempotency_digest != digest:
        raise IdempotencyKeyReused(
            "this Idempotency-Key was used for another experiment; send a new key with a new experiment"
        )
    return known


def _end_experiment(session: Session, experiment_id: str, values: Mapping[str, Any]) -> bool:
    if lock(session, experiment_id).status not in ("queued", "running"):
        return False
    session.execute(update(Experiment).where(Experiment.id == experiment_id).values(finished_at=now(session), **values))
    note(session, experiment_id, "experiment", {"status": values["status"]})
    owe_delivery(session, experiment_id, values["status"])
    return True
