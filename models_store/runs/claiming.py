"""Who may run a trial: one worker at a time, by a lease and a fencing token."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.runs.journal import Claim, add_event, add_trial_event, lock
from models_store.tables import Experiment, Trial

UNDER_WAY = ("queued", "running")
CLAIM_ORDER = (Experiment.priority.desc(), Experiment.created_at, Experiment.id)


def claim_next(session: Session, queues: Iterable[str], worker: str, lease: timedelta) -> Claim | None:
    """Claims a queued trial of the experiment with the highest priority, then of the oldest; `None` if none is queued.

    The first claim of an experiment starts it.
    """
    queued = (Trial.status == "queued", Trial.queue.in_(tuple(queues)))
    while (experiment_id := session.scalar(_most_urgent(queued))) is not None:
        # The trial is chosen under the experiment's lock, so that no two workers choose the same one.
        experiment = lock(session, experiment_id)
        session.expire_all()
        trials = select(Trial).where(Trial.experiment_id == experiment.id, *queued)
        trial = session.scalar(trials.order_by(Trial.phase, Trial.position).limit(1))
        if trial is not None and experiment.status in UNDER_WAY:
            moment = now(session)
            _start(session, experiment, moment)
            return _claim(session, trial, worker, moment, lease)
        session.expire_all()
    return None


def _most_urgent(queued: Sequence[ColumnElement[bool]]) -> Select[str]:
    """The experiment whose trial is next. Its own age counts, so that its later phases keep its place in the queue."""
    has_waiting = select(Trial.id).where(Trial.experiment_id == Experiment.id, *queued).exists()
    unfinished = select(Experiment.id).where(Experiment.status.in_(UNDER_WAY), has_waiting)
    return unfinished.order_by(*CLAIM_ORDER).limit(1)


def _start(session: Session, experiment: Experiment, moment: datetime) -> None:
    if experiment.status == "queued":
        experiment.status, experiment.phase = "running", max(experiment.phase, 1)
        experiment.started_at = experiment.started_at or moment
        add_event(session, experiment.id, "experiment", {"status": "running"})


def _claim(session: Session, trial: Trial, worker: str, moment: datetime, lease: timedelta) -> Claim:
    trial.status, trial.worker, trial.lease_expires_at = "running", worker, moment + lease
    trial.fence, trial.attempts, trial.started_at = trial.fence + 1, trial.attempts + 1, trial.started_at or moment
    claim = Claim(trial.id, trial.experiment_id, trial.fence, trial.attempts, trial.kind)
    add_trial_event(session, claim, "running", name=trial.name, worker=worker, attempt=claim.attempt)
    return claim
