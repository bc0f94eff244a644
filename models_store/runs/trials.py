"""The life of a claimed trial: kept alive, ended or given back, every write guarded by the claim's fencing token."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.runs.experiments import end_if_cancelled
from models_store.runs.journal import (
    Claim,
    EpochReport,
    LeaseLost,
    ResumePoint,
    Standing,
    TrialResult,
    lock,
    note_epoch,
    note_trial,
    refresh_progress,
)
from models_store.tables import EpochRow, Trial, TrialLog

NO_RESUME_POINT: dict[str, Any] = {"resume_key": None, "resume_sha256": None, "resume_epochs": 0}


def heartbeat(session: Session, claim: Claim, lease: timedelta, epochs: Sequence[EpochReport] = ()) -> Standing:
    """Extends the lease and stores finished epochs in one transaction; tells the worker where it stands."""
    moment = now(session)
    values: dict[str, Any] = {"lease_expires_at": moment + lease}
    if epochs:
        values["epochs_done"] = epochs[-1].number
    if not _update_claimed(session, claim, values):
        return "lost"
    for epoch in epochs:
        session.merge(
            EpochRow(
                trial_id=claim.trial_id,
                number=epoch.number,
                metrics=dict(epoch.metrics),
                seconds=epoch.seconds,
                eligible=epoch.eligible,
                best=epoch.best,
                created_at=moment,
            )
        )
        note_epoch(session, claim, epoch)
    if epochs:
        refresh_progress(session, claim.experiment_id)
    return standing(session, claim)


def standing(session: Session, claim: Claim) -> Standing:
    """Where the worker stands, as `heartbeat` says, without writing anything."""
    row = session.execute(select(Trial.fence, Trial.status).where(Trial.id == claim.trial_id)).one()
    if row.fence != claim.fence or row.status not in ("running", "cancelling"):
        return "lost"
    return "cancelling" if row.status == "cancelling" else "ours"


def keep_resume_point(session: Session, claim: Claim, point: ResumePoint) -> str | None:
    """Records where the store holds the trial's resume point. Returns the key of the one before, now superseded."""
    lock(session, claim.experiment_id)
    previous = session.scalar(select(Trial.resume_key).where(Trial.id == claim.trial_id))
    values = {"resume_key": point.key, "resume_sha256": point.sha256, "resume_epochs": point.epochs}
    _require_claimed(session, claim, values)
    return previous


def forget_epochs(session: Session, claim: Claim) -> None:
    """Drops the epochs of an earlier attempt; this attempt tells of those it resumes from again."""
    _require_claimed(session, claim, {"epochs_done": 0})
    session.execute(delete(EpochRow).where(EpochRow.trial_id == claim.trial_id))


def finish_trial(session: Session, claim: Claim, result: TrialResult) -> None:
    """Records how a trial ended by itself. Raises `LeaseLost` if the claim no longer holds."""
    _require_claimed(
        session,
        claim,
        {
            "status": result.status,
            "best_epoch": result.best_epoch,
            "metrics": result.metrics,
            "checkpoint_key": result.checkpoint_key,
            "checkpoint_sha256": result.checkpoint_sha256,
            "environment": result.environment,
            "error": None if result.reason is None else {"kind": "collapsed", "message": result.reason},
            "lease_expires_at": None,
            "finished_at": now(session),
            **NO_RESUME_POINT,
        },
    )
    note_trial(session, claim, result.status, best_epoch=result.best_epoch, reason=result.reason)
    refresh_progress(session, claim.experiment_id)
    end_if_cancelled(session, claim.experiment_id)


def fail_trial(session: Session, claim: Claim, error: Mapping[str, Any], *, retry: bool, max_attempts: int) -> None:
    """Ends a trial, or queues it again when the machinery failed and attempts are left."""
    again = retry and claim.attempt < max_attempts
    _require_claimed(session, claim, _requeued(error) if again else _failed(error, now(session)))
    note_trial(session, claim, "queued" if again else "failed", **error)
    refresh_progress(session, claim.experiment_id)
    end_if_cancelled(session, claim.experiment_id)


def hand_back(session: Session, claim: Claim) -> None:
    """Returns a trial to the queue because its worker is stopping; this does not count as an attempt."""
    _require_claimed(session, claim, _requeued(None) | {"attempts": claim.attempt - 1})
    note_trial(session, claim, "queued", reason="its worker is stopping")
    end_if_cancelled(session, claim.experiment_id)


def confirm_cancelled(session: Session, claim: Claim) -> None:
    """Says that the trial's process is gone."""
    ended = {"status": "cancelled", "lease_expires_at": None, "finished_at": now(session)}
    _require_claimed(session, claim, ended | NO_RESUME_POINT)
    note_trial(session, claim, "cancelled")
    end_if_cancelled(session, claim.experiment_id)


def cancelled_meanwhile(session: Session, claim: Claim) -> bool:
    """Ends the trial as cancelled if its experiment is being cancelled, whatever its process had come to by then."""
    if lock(session, claim.experiment_id).status != "cancelling":
        return False
    confirm_cancelled(session, claim)
    return True


def _requeued(error: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"status": "queued", "worker": None, "lease_expires_at": None, "error": error}


def _failed(error: Mapping[str, Any], moment: datetime) -> dict[str, Any]:
    ended = {"status": "failed", "error": dict(error), "lease_expires_at": None, "finished_at": moment}
    return ended | NO_RESUME_POINT


def _update_claimed(session: Session, claim: Claim, values: Mapping[str, Any]) -> bool:
    lock(session, claim.experiment_id)
    updated = session.execute(
        update(Trial)
        .where(
            Trial.id == claim.trial_id,
            Trial.fence == claim.fence,
            Trial.status.in_(("running", "cancelling")),
        )
        .values(**values)
    )
    return _changed(updated)


def _require_claimed(session: Session, claim: Claim, values: Mapping[str, Any]) -> None:
    if not _update_claimed(session, claim, values):
        raise LeaseLost(f"the claim {claim.fence} on trial {claim.trial_id} no longer holds; its result is dropped")


def _changed(result: Any) -> bool:
    return bool(result.rowcount == 1)


def keep_log(session: Session, claim: Claim, text: str, *, is_whole: bool) -> None:
    """Keeps `text` in place of what was kept before. Raises `LeaseLost` if the claim no longer holds."""
    lock(session, claim.experiment_id)
    trial = session.get_one(Trial, claim.trial_id, populate_existing=True)
    if trial.fence != claim.fence:
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
