"""Deadlines: expired leases, exceeded time limits, and cancellations with no process left.

Some functions find experiments, the others lock and end one. The sweeper gives each experiment a transaction of its
own, so that several sweepers cannot deadlock.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.runs.experiments import stop
from models_store.runs.journal import Claim, lock
from models_store.runs.trials import confirm_cancelled, fail_trial
from models_store.tables import Experiment, Trial

CLAIMED = Trial.status.in_(("running", "cancelling"))


def with_expired_leases(session: Session) -> list[str]:
    """Experiments with a trial whose lease ran out."""
    expired = select(Trial.experiment_id).where(CLAIMED, Trial.lease_expires_at < now(session))
    return list(session.scalars(expired.distinct()))


def with_time_limit(session: Session) -> list[str]:
    """Running experiments whose spec limits their time."""
    # Read as text: a value that is no number must not fail the query for all the others.
    limit = Experiment.spec[("limits", "experiment_minutes")].as_string()
    return list(session.scalars(select(Experiment.id).where(Experiment.status == "running", limit.is_not(None))))


def cancelling(session: Session) -> list[str]:
    return list(session.scalars(select(Experiment.id).where(Experiment.status == "cancelling")))


def reclaim_expired(session: Session, experiment_id: str, max_attempts: int) -> list[str]:
    """Requeues every trial of an experiment whose lease ran out, and returns their ids.

    A trial that was being cancelled, or has no attempt left, ends instead.
    """
    lock(session, experiment_id)  # no worker can renew a lease until this transaction ends
    expired = select(Trial).where(Trial.experiment_id == experiment_id, CLAIMED, Trial.lease_expires_at < now(session))
    trials = session.scalars(expired.execution_options(populate_existing=True)).all()
    for trial in trials:
        _reclaim(session, trial, max_attempts)
    return [trial.id for trial in trials]


def stop_overdue(session: Session, experiment_id: str) -> bool:
    """Stops an experiment that has run longer than its spec allows; it ends as failed. Returns whether it did."""
    experiment = lock(session, experiment_id)
    minutes = experiment.spec["limits"]["experiment_minutes"]
    if experiment.status != "running" or experiment.started_at is None or minutes is None:
        return False
    # Compared as numbers, because a limit may be longer than a timedelta can be.
    if (now(session) - experiment.started_at).total_seconds() / 60 < minutes:
        return False
    message = f"it ran longer than its limit of {minutes:g} minutes; raise limits.experiment_minutes or ask for less"
    experiment.error = {"kind": "TimeLimitExceeded", "message": message}
    stop(session, experiment)
    return True


def _reclaim(session: Session, trial: Trial, max_attempts: int) -> None:
    claim = Claim(trial.id, trial.experiment_id, trial.fence, trial.attempts, trial.kind)
    if trial.status == "cancelling":
        confirm_cancelled(session, claim)
        return
    message = f"the lease of the worker {trial.worker} expired during attempt {claim.attempt}"
    fail_trial(session, claim, {"kind": "WorkerLost", "message": message}, retry=True, max_attempts=max_attempts)
