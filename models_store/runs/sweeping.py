"""What time makes true: leases that ran out, limits that passed, cancellations with no process left."""

from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.runs.experiments import end_if_cancelled, stop
from models_store.runs.journal import lock
from models_store.runs.records import Claim
from models_store.runs.trials import confirm_cancelled, fail_trial
from models_store.tables import Experiment, Trial


def take_back_expired(session: Session, max_attempts: int) -> int:
    """Puts back every trial whose lease ran out, or ends it when it was being cancelled or has no attempt left."""
    moment = now(session)
    silent = select(Trial.experiment_id, Trial.id).where(
        Trial.status.in_(("running", "cancelling")), Trial.lease_expires_at < moment
    )
    return sum(
        _take_back(session, experiment_id, trial_id, moment, max_attempts)
        for experiment_id, trial_id in session.execute(silent).all()
    )


def stop_overdue(session: Session) -> int:
    """Stops every experiment that has run longer than its spec allows; it ends as failed. Returns how many."""
    running = session.execute(select(Experiment.id, Experiment.spec).where(Experiment.status == "running"))
    limits = {key: spec["limits"]["experiment_minutes"] for key, spec in running}
    return sum(_stop_if_overdue(session, key, minutes) for key, minutes in limits.items() if minutes is not None)


def end_cancelling(session: Session) -> None:
    """Ends every cancelling experiment none of whose trials has a process any more."""
    for experiment_id in session.scalars(select(Experiment.id).where(Experiment.status == "cancelling")).all():
        end_if_cancelled(session, experiment_id)


def _take_back(session: Session, experiment_id: str, trial_id: str, moment: datetime, max_attempts: int) -> bool:
    lock(session, experiment_id)
    trial = session.get_one(Trial, trial_id, populate_existing=True)
    # Until the lock was had, the worker may have sent a heartbeat after all.
    if trial.lease_expires_at is None or trial.lease_expires_at >= moment:
        return False
    claim = Claim(trial.id, trial.experiment_id, trial.fence, trial.attempts, trial.kind)
    if trial.status == "cancelling":
        confirm_cancelled(session, claim)
        return True
    message = f"the worker {trial.worker} fell silent during attempt {claim.attempt}"
    fail_trial(session, claim, {"kind": "WorkerLost", "message": message}, retry=True, max_attempts=max_attempts)
    return True


def _stop_if_overdue(session: Session, experiment_id: str, minutes: float) -> bool:
    experiment = lock(session, experiment_id)
    started = experiment.started_at
    if experiment.status != "running" or started is None or now(session) - started < timedelta(minutes=minutes):
        return False
    message = f"it ran longer than its limit of {minutes:g} minutes; raise limits.experiment_minutes or ask for less"
    experiment.error = {"kind": "TimeLimitExceeded", "message": message}
    stop(session, experiment)
    return True
