"""The life of an experiment: submitted, moved through its phases, ended or cancelled."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models_store.contract.specs import ExperimentSpec
from models_store.database import now, wake_after_commit
from models_store.experiment.phases import EndInFailure, OpenPhase, first_phase, next_phase
from models_store.runs.deliveries import enqueue_delivery
from models_store.runs.journal import UNFINISHED, IdempotencyKeyReused, add_event, lock, trials_of
from models_store.tables import Experiment, Trial


def submit(
    session: Session, spec: ExperimentSpec, *, key: str | None = None, submitted_by: str | None = None
) -> Experiment:
    """Stores a new experiment with the trials of its first phase, or returns the one that the same key stored before.

    It stays queued until a worker claims one of them. `submitted_by` is the name of the API key, if there is one.
    """
    digest = digest_of(spec)
    known = _submitted_before(session, key, digest)
    if known is not None:
        return known
    experiment = Experiment(
        name=spec.name,
        priority=spec.priority,
        spec=spec.model_dump(mode="json"),
        idempotency_key=key,
        idempotency_digest=digest,
        submitted_by=submitted_by,
        created_at=now(session),
    )
    try:
        with session.begin_nested():
            session.add(experiment)
    except IntegrityError:  # on PostgreSQL the same key may have been stored since the query above
        known = _submitted_before(session, key, digest)
        if known is None:
            raise
        return known
    add_event(session, experiment.id, "experiment", {"status": "queued"})
    _open_phase(session, experiment, first_phase(spec))
    return experiment


def digest_of(spec: ExperimentSpec) -> str:
    """The sha256 of every field, defaults included; equal for equal experiments."""
    return hashlib.sha256(json.dumps(spec.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def advance(session: Session, experiment_id: str) -> None:
    """Opens the next phase, or fails the experiment, once every trial of its phase has ended."""
    experiment = lock(session, experiment_id)
    trials = trials_of(session, experiment_id)
    if experiment.status not in ("queued", "running") or any(trial.status in UNFINISHED for trial in trials):
        return
    spec = ExperimentSpec.model_validate(experiment.spec)
    step = next_phase(spec, trials[-1].phase, trials) if trials else first_phase(spec)
    if isinstance(step, EndInFailure):
        fail_experiment(session, experiment_id, step.error)
    else:
        _open_phase(session, experiment, step)


def cancel(session: Session, experiment_id: str) -> Experiment:
    """Cancels queued trials at once, running ones when their process has ended. A finished experiment stays."""
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
    add_event(session, experiment.id, "experiment", {"status": "cancelling"})
    end_if_cancelled(session, experiment.id)
    session.refresh(experiment)


def end_if_cancelled(session: Session, experiment_id: str) -> None:
    """A cancelling experiment ends once none of its trials has a process; its requeued trials are cancelled.

    It ends as failed where it was stopped for a reason on record, else as cancelled.
    """
    experiment = lock(session, experiment_id)
    if experiment.status != "cancelling":
        return
    own_trials = Trial.experiment_id == experiment_id
    session.execute(
        update(Trial).where(own_trials, Trial.status == "queued").values(status="cancelled", finished_at=now(session))
    )
    if session.scalar(select(Trial.id).where(own_trials, Trial.status.in_(UNFINISHED)).limit(1)) is None:
        experiment.status = "cancelled" if experiment.error is None else "failed"
        experiment.finished_at = now(session)
        add_event(session, experiment_id, "experiment", {"status": experiment.status})
        enqueue_delivery(session, experiment_id, experiment.status)


def _submitted_before(session: Session, key: str | None, digest: str) -> Experiment | None:
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
    add_event(session, experiment_id, "experiment", {"status": values["status"]})
    enqueue_delivery(session, experiment_id, values["status"])
    return True


def _open_phase(session: Session, experiment: Experiment, opened: OpenPhase) -> None:
    """Queues the trials of a phase and wakes workers for them. The first phase begins when one of them is claimed."""
    moment = now(session)
    if opened.phase > 1:
        experiment.phase = opened.phase
    session.add_all(
        Trial(
            experiment_id=experiment.id,
            phase=opened.phase,
            position=position,
            created_at=moment,
            **vars(trial),
        )
        for position, trial in enumerate(opened.trials)
    )
    names = [trial.name for trial in opened.trials]
    add_event(session, experiment.id, "phase", {"phase": opened.phase, "trials": names})
    for trial in opened.trials:
        wake_after_commit(session, trial.queue)
