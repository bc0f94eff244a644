"""The life of a trial: claimed, kept alive, ended or given back, every write guarded by the claim's fencing token."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.runs.experiments import end_if_cancelled
from models_store.runs.journal import lock, note_epoch, note_trial, refresh_progress
from models_store.runs.records import Claim, EpochReport, LeaseLost, Standing, TrialResult
from models_store.tables import EpochRow, Experiment, Trial


def claim_next(session: Session, queues: Iterable[str], worker: str, lease: timedelta) -> Claim | None:
    """Claims the most urgent queued trial of `queues`, oldest first; `None` when nothing waits."""
    waiting = (
        select(Trial)
        .join(Experiment)
        .where(Trial.status == "queued", Trial.queue.in_(tuple(queues)), Experiment.status == "running")
        .order_by(Trial.priority.desc(), Trial.created_at, Trial.position)
        .limit(1)
    )
    while (trial := session.scalar(waiting)) is not None:
        claim = Claim(trial.id, trial.experiment_id, trial.fence + 1, trial.attempts + 1, trial.kind)
        if _claim(session, claim, worker, now(session), lease):
            return claim
        session.expire_all()
    return None


def _claim(session: Session, claim: Claim, worker: str, moment: datetime, lease: timedelta) -> bool:
    if lock(session, claim.experiment_id).status != "running":
        return False
    claimed = session.execute(
        update(Trial)
        .where(Trial.id == claim.trial_id, Trial.status == "queued", Trial.fence == claim.fence - 1)
        .values(
            status="running",
            fence=claim.fence,
            attempts=claim.attempt,
            worker=worker,
            lease_expires_at=moment + lease,
            started_at=func.coalesce(Trial.started_at, moment),
        )
        .execution_options(synchronize_session=False)
    )
    if not _changed(claimed):
        return False
    note_trial(session, claim, "running", worker=worker, attempt=claim.attempt)
    return True


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
    status = session.scalars(select(Trial.status).where(Trial.id == claim.trial_id)).one()
    return "cancelling" if status == "cancelling" else "ours"


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
    _require_claimed(session, claim, {"status": "cancelled", "lease_expires_at": None, "finished_at": now(session)})
    note_trial(session, claim, "cancelled")
    end_if_cancelled(session, claim.experiment_id)


def _requeued(error: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"status": "queued", "worker": None, "lease_expires_at": None, "error": error}


def _failed(error: Mapping[str, Any], moment: datetime) -> dict[str, Any]:
    return {"status": "failed", "error": dict(error), "lease_expires_at": None, "finished_at": moment}


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
