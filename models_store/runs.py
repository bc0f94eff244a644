"""The only code that changes a status. The row is the truth; a message is a wake-up call.

A trial is claimed by a conditional update that writes a lease and a new fencing token. Everything a worker writes
afterwards names that token, so a worker that lost its lease can write nothing more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.tables import EpochRow, Experiment, Trial

UNFINISHED = ("queued", "running", "cancelling")
Standing = Literal["ours", "cancelling", "lost"]


@dataclass(frozen=True)
class PlannedTrial:
    """A trial that a phase is about to queue."""

    name: str
    kind: Literal["train", "finalize"]
    queue: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """The right of one worker to run one trial once. `fence` is the token that guards every later write."""

    trial_id: str
    experiment_id: str
    fence: int
    attempt: int
    kind: str


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch, as the trial's process reported it."""

    number: int
    metrics: Mapping[str, float]
    seconds: float
    eligible: bool
    best: bool


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended by itself."""

    status: Literal["succeeded", "collapsed"]
    best_epoch: int | None = None
    metrics: Mapping[str, Any] | None = None
    checkpoint_key: str | None = None
    checkpoint_sha256: str | None = None
    environment: Mapping[str, Any] | None = None
    reason: str | None = None


class LeaseLost(RuntimeError):
    """Another worker owns the trial now, or nobody does; what this worker knows about it must not be written."""


class ExperimentNotFound(LookupError):
    """No experiment has that id."""


class IdempotencyKeyReused(ValueError):
    """The same Idempotency-Key arrived with another experiment."""


def submit(session: Session, spec: dict[str, Any], *, key: str | None = None, digest: str | None = None) -> Experiment:
    """Stores a new experiment as queued, or returns the one that the same idempotency key stored before."""
    if key is not None:
        known = session.scalar(select(Experiment).where(Experiment.idempotency_key == key))
        if known is not None and known.idempotency_digest != digest:
            raise IdempotencyKeyReused(
                f"the Idempotency-Key {key!r} was used for another experiment; send a new key with a new experiment"
            )
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
    session.add(experiment)
    session.flush()
    return experiment


def open_phase(session: Session, experiment_id: str, phase: int, trials: Sequence[PlannedTrial]) -> bool:
    """Moves an experiment from the phase before to `phase` and queues its trials; true for exactly one caller."""
    moment = now(session)
    moved = session.execute(
        update(Experiment)
        .where(
            Experiment.id == experiment_id,
            Experiment.phase == phase - 1,
            Experiment.status.in_(("queued", "running")),
        )
        .values(phase=phase, status="running", started_at=func.coalesce(Experiment.started_at, moment))
    )
    if not _changed(moved):
        return False
    priority = session.scalars(select(Experiment.priority).where(Experiment.id == experiment_id)).one()
    session.add_all(
        Trial(
            experiment_id=experiment_id,
            phase=phase,
            position=position,
            name=trial.name,
            kind=trial.kind,
            queue=trial.queue,
            priority=priority,
            spec=trial.spec,
            created_at=moment,
        )
        for position, trial in enumerate(trials)
    )
    session.flush()
    return True


def claim_next(session: Session, queues: Iterable[str], worker: str, lease: timedelta) -> Claim | None:
    """Claims the most urgent queued trial of `queues`, oldest first; `None` when nothing waits."""
    moment = now(session)
    waiting = session.scalar(
        select(Trial)
        .join(Experiment)
        .where(Trial.status == "queued", Trial.queue.in_(tuple(queues)), Experiment.status == "running")
        .order_by(Trial.priority.desc(), Trial.created_at, Trial.position)
        .limit(1)
        .with_for_update(skip_locked=True, of=Trial)
    )
    if waiting is None:
        return None
    claimed = session.execute(
        update(Trial)
        .where(Trial.id == waiting.id, Trial.status == "queued", Trial.fence == waiting.fence)
        .values(
            status="running",
            fence=waiting.fence + 1,
            attempts=waiting.attempts + 1,
            worker=worker,
            lease_expires_at=moment + lease,
            started_at=func.coalesce(Trial.started_at, moment),
        )
        .execution_options(synchronize_session=False)
    )
    if not _changed(claimed):
        return None
    return Claim(waiting.id, waiting.experiment_id, waiting.fence + 1, waiting.attempts + 1, waiting.kind)


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
    if epochs:
        _refresh_progress(session, claim.experiment_id)
    status = session.scalars(select(Trial.status).where(Trial.id == claim.trial_id)).one()
    return "cancelling" if status == "cancelling" else "ours"


def forget_epochs_after(session: Session, claim: Claim, number: int) -> None:
    """Drops the epochs of an earlier attempt that this attempt is about to repeat."""
    _require_claimed(session, claim, {"epochs_done": number})
    session.execute(delete(EpochRow).where(EpochRow.trial_id == claim.trial_id, EpochRow.number > number))


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
    _refresh_progress(session, claim.experiment_id)


def fail_trial(session: Session, claim: Claim, error: Mapping[str, Any], *, retry: bool, max_attempts: int) -> None:
    """Ends a trial, or queues it again when the machinery failed and attempts are left."""
    again = retry and claim.attempt < max_attempts
    _require_claimed(session, claim, _requeued(error) if again else _failed(error, now(session)))
    _end_cancelled(session, claim.experiment_id)


def hand_back(session: Session, claim: Claim) -> None:
    """Returns a trial to the queue because its worker is stopping; this does not count as an attempt."""
    _require_claimed(session, claim, _requeued(None) | {"attempts": claim.attempt - 1})
    _end_cancelled(session, claim.experiment_id)


def confirm_cancelled(session: Session, claim: Claim) -> None:
    """Says that the trial's process is gone."""
    _require_claimed(session, claim, {"status": "cancelled", "lease_expires_at": None, "finished_at": now(session)})
    _end_cancelled(session, claim.experiment_id)


def cancel(session: Session, experiment_id: str) -> Experiment:
    """Cancels what waits at once and asks what runs to stop. A finished experiment stays as it is."""
    experiment = session.get(Experiment, experiment_id, with_for_update=True)
    if experiment is None:
        raise ExperimentNotFound(f"there is no experiment {experiment_id}")
    if experiment.status not in ("queued", "running"):
        return experiment
    experiment.status = "cancelling"
    session.flush()
    for before, after in (("queued", "cancelled"), ("running", "cancelling")):
        session.execute(
            update(Trial)
            .where(Trial.experiment_id == experiment_id, Trial.status == before)
            .values(status=after, finished_at=now(session) if after == "cancelled" else None)
        )
    _end_cancelled(session, experiment_id)
    session.refresh(experiment)
    return experiment


def finish_experiment(session: Session, experiment_id: str, result: Mapping[str, Any]) -> bool:
    return _end_experiment(session, experiment_id, {"status": "succeeded", "result": dict(result), "progress": 1.0})


def fail_experiment(session: Session, experiment_id: str, error: Mapping[str, Any]) -> bool:
    return _end_experiment(session, experiment_id, {"status": "failed", "error": dict(error)})


def take_back_expired(session: Session, max_attempts: int) -> int:
    """Puts back every trial whose lease ran out, or ends it when it was being cancelled or has no attempt left."""
    moment = now(session)
    expired = session.scalars(
        select(Trial)
        .where(Trial.status.in_(("running", "cancelling")), Trial.lease_expires_at < moment)
        .with_for_update(skip_locked=True)
    ).all()
    for trial in expired:
        claim = Claim(trial.id, trial.experiment_id, trial.fence, trial.attempts, trial.kind)
        if trial.status == "cancelling":
            confirm_cancelled(session, claim)
            continue
        message = f"the worker {trial.worker} fell silent during attempt {claim.attempt}"
        lost = {"kind": "WorkerLost", "message": message}
        fail_trial(session, claim, lost, retry=True, max_attempts=max_attempts)
    return len(expired)


def end_cancelled(session: Session) -> None:
    """Ends every cancelling experiment none of whose trials has a process any more."""
    for experiment_id in session.scalars(select(Experiment.id).where(Experiment.status == "cancelling")).all():
        _end_cancelled(session, experiment_id)


def _requeued(error: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"status": "queued", "worker": None, "lease_expires_at": None, "error": error}


def _failed(error: Mapping[str, Any], moment: datetime) -> dict[str, Any]:
    return {"status": "failed", "error": dict(error), "lease_expires_at": None, "finished_at": moment}


def _update_claimed(session: Session, claim: Claim, values: Mapping[str, Any]) -> bool:
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


def _end_experiment(session: Session, experiment_id: str, values: Mapping[str, Any]) -> bool:
    ended = session.execute(
        update(Experiment)
        .where(Experiment.id == experiment_id, Experiment.status == "running")
        .values(finished_at=now(session), **values)
    )
    return _changed(ended)


def _end_cancelled(session: Session, experiment_id: str) -> None:
    """A cancelling experiment is cancelled once none of its trials has a process; a requeued trial goes with it."""
    session.flush()
    cancelling = select(Experiment.id).where(Experiment.id == experiment_id, Experiment.status == "cancelling")
    if session.scalar(cancelling) is None:
        return
    session.execute(
        update(Trial)
        .where(Trial.experiment_id == experiment_id, Trial.status == "queued")
        .values(status="cancelled", finished_at=now(session))
    )
    unfinished = select(Trial.id).where(Trial.experiment_id == experiment_id, Trial.status.in_(UNFINISHED)).limit(1)
    if session.scalar(unfinished) is None:
        session.execute(
            update(Experiment)
            .where(Experiment.id == experiment_id, Experiment.status == "cancelling")
            .values(status="cancelled", finished_at=now(session))
        )


def _refresh_progress(session: Session, experiment_id: str) -> None:
    """Share of the study's trials that are done, a running one counted by its epochs. Never moves back."""
    session.flush()
    experiment = session.get_one(Experiment, experiment_id)
    spec = experiment.spec
    planned = len(spec["architectures"]) * len(spec["class_weights"]) + len(spec["strategies"]) + 1
    trials = session.execute(select(Trial.status, Trial.epochs_done).where(Trial.experiment_id == experiment_id))
    done = sum(min(epochs / spec["epochs"], 1.0) if status in UNFINISHED else 1.0 for status, epochs in trials.tuples())
    session.execute(
        update(Experiment)
        .where(Experiment.id == experiment_id, Experiment.progress < done / planned)
        .values(progress=min(done / planned, 1.0))
    )


def _changed(result: Any) -> bool:
    return bool(result.rowcount == 1)
