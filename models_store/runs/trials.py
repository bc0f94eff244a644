"""The life of a claimed trial: heartbeats, its end or release. The claim's fencing token guards every write."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models_store.contract.outcomes import Collapsed, Epoch, Finalized, ResumePoint, Trained
from models_store.database import now, wake_after_commit
from models_store.runs.experiments import end_if_cancelled
from models_store.runs.journal import (
    Claim,
    ClaimState,
    LeaseLost,
    add_epoch_event,
    add_trial_event,
    lock,
    refresh_progress,
)
from models_store.tables import EpochRow, Trial, TrialLog

CLAIMED = ("running", "cancelling")


def heartbeat(session: Session, claim: Claim, lease: timedelta, epochs: Sequence[Epoch] = ()) -> ClaimState:
    """Extends the lease and stores finished epochs in one transaction; returns the state of the claim."""
    try:
        trial = _claimed(session, claim)
    except LeaseLost:
        return "lost"
    moment = now(session)
    trial.lease_expires_at = moment + lease
    for epoch in epochs:
        trial.epochs_done = epoch.number
        session.merge(EpochRow(trial_id=claim.trial_id, created_at=moment, **epoch.values()))
        add_epoch_event(session, claim, epoch)
    if epochs:
        refresh_progress(session, claim.experiment_id)
    return claim_state(session, claim)


def claim_state(session: Session, claim: Claim) -> ClaimState:
    """The state of the claim, as `heartbeat` returns it, without writing anything."""
    row = session.execute(select(Trial.fence, Trial.status).where(Trial.id == claim.trial_id)).one()
    if row.fence != claim.fence or row.status not in CLAIMED:
        return "lost"
    return "cancelling" if row.status == "cancelling" else "ours"


def store_resume_point(session: Session, claim: Claim, point: ResumePoint) -> str | None:
    """Records where the store holds the trial's resume point. Returns the key of the one before, now superseded."""
    trial = _claimed(session, claim)
    previous = trial.resume_key
    trial.resume_key, trial.resume_sha256, trial.resume_epochs = point.key, point.sha256, point.epochs
    return previous


def delete_epochs(session: Session, claim: Claim) -> None:
    """Deletes the epochs of an earlier attempt; the present one reports again those that it resumes from."""
    _claimed(session, claim).epochs_done = 0
    session.execute(delete(EpochRow).where(EpochRow.trial_id == claim.trial_id))


def store_log(session: Session, claim: Claim, text: str, *, is_whole: bool) -> None:
    """Stores `text` in place of what was stored before, also once the trial has ended. Raises `LeaseLost`."""
    lock(session, claim.experiment_id)
    if session.scalar(select(Trial.fence).where(Trial.id == claim.trial_id)) != claim.fence:
        raise LeaseLost(f"the claim {claim.fence} on trial {claim.trial_id} no longer holds; its log is dropped")
    session.merge(
        TrialLog(
            trial_id=claim.trial_id,
            attempt=claim.attempt,
            text=text.replace("\0", "\N{REPLACEMENT CHARACTER}"),  # which PostgreSQL does not store
            is_whole=is_whole,
            written_at=now(session),
        )
    )


def finish_trial(session: Session, claim: Claim, outcome: Trained | Collapsed | Finalized) -> None:
    """Records the outcome of a trial. Raises `LeaseLost` if the claim no longer holds."""
    trial = _claimed(session, claim)
    trial.environment, trial.error = outcome.environment, None
    match outcome:
        case Trained():
            trial.best_epoch, trial.metrics = outcome.best_epoch, outcome.metrics
            trial.checkpoint_key, trial.checkpoint_sha256 = outcome.checkpoint.key, outcome.checkpoint.sha256
            _end(session, claim, trial, "succeeded", best_epoch=outcome.best_epoch)
        case Finalized():
            _end(session, claim, trial, "succeeded")
        case Collapsed():
            trial.error = {"kind": "collapsed", "message": outcome.reason}
            _end(session, claim, trial, "collapsed", reason=outcome.reason)


def fail_trial(session: Session, claim: Claim, error: Mapping[str, Any], *, retry: bool, max_attempts: int) -> None:
    """Ends a trial, or queues it again when the machinery failed and attempts are left."""
    trial = _claimed(session, claim)
    trial.error = dict(error)
    if retry and claim.attempt < max_attempts:
        _requeue(session, claim, trial, **error)
    else:
        _end(session, claim, trial, "failed", **error)


def release(session: Session, claim: Claim) -> None:
    """Returns a trial to the queue because its worker stops; this does not count as an attempt."""
    trial = _claimed(session, claim)
    trial.attempts, trial.error = claim.attempt - 1, None
    _requeue(session, claim, trial, reason="its worker is stopping")


def confirm_cancelled(session: Session, claim: Claim) -> None:
    """Ends a trial as cancelled once its process has ended."""
    _end(session, claim, _claimed(session, claim), "cancelled")


def end_if_experiment_cancelled(session: Session, claim: Claim) -> bool:
    """Ends the trial as cancelled, whatever its outcome, if its experiment is cancelling; returns whether it did."""
    if lock(session, claim.experiment_id).status != "cancelling":
        return False
    confirm_cancelled(session, claim)
    return True


def _requeue(session: Session, claim: Claim, trial: Trial, **details: Any) -> None:
    trial.status, trial.worker, trial.lease_expires_at = "queued", None, None
    add_trial_event(session, claim, "queued", **details)
    refresh_progress(session, claim.experiment_id)
    wake_after_commit(session, trial.queue)
    end_if_cancelled(session, claim.experiment_id)


def _end(session: Session, claim: Claim, trial: Trial, status: str, **details: Any) -> None:
    trial.status, trial.lease_expires_at, trial.finished_at = status, None, now(session)
    trial.resume_key, trial.resume_sha256, trial.resume_epochs = None, None, 0
    add_trial_event(session, claim, status, **details)
    refresh_progress(session, claim.experiment_id)
    end_if_cancelled(session, claim.experiment_id)


def _claimed(session: Session, claim: Claim) -> Trial:
    """The trial, locked with its experiment. Raises `LeaseLost` unless the claim on it holds."""
    lock(session, claim.experiment_id)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    if trial.fence != claim.fence or trial.status not in CLAIMED:
        raise LeaseLost(f"the claim {claim.fence} on trial {claim.trial_id} no longer holds; its result is dropped")
    return trial
