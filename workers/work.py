"""One trial from claim to record. Each step is its own short transaction, because training lasts hours."""

import logging
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from kombu.exceptions import OperationalError as BrokerUnreachable
from sqlalchemy import select
from sqlalchemy.exc import OperationalError as DatabaseUnreachable
from sqlalchemy.orm import Session

from models_store import broker, runs
from models_store.runs import Claim, EpochReport, Standing
from models_store.specs import ExperimentSpec
from models_store.tables import DatasetRow, Experiment, TestOpening, Trial
from workers import job, phases
from workers.app import Worker
from workers.job import Job, PriorOpening, RegisteredFile
from workers.recording import record
from workers.supervisor import Exit, supervise

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")
DATABASE_PATIENCE_SECONDS = 600


def run_next_trial(worker: Worker, queue: str) -> bool:
    """Claims, runs and records one queued trial; false when none waits."""
    lease = timedelta(seconds=worker.settings.lease_seconds)
    with worker.database.write() as session:
        claim = runs.claim_next(session, [queue], worker.name, lease)
    if claim is None:
        return False
    folder = worker.settings.work_root.resolve() / claim.trial_id
    ended = _run(worker, claim, folder)
    try:
        _persist(worker, lambda session: record(session, claim, ended, worker.settings.max_attempts))
    except runs.LeaseLost as lost:
        log.warning("dropped a result: %s", lost)
    if ended.reason == "finished" or ended.reason == "cancelled":
        shutil.rmtree(folder, ignore_errors=True)
    advance(worker, claim.experiment_id)
    return True


def advance(worker: Worker, experiment_id: str) -> None:
    """Opens what the experiment needs next and wakes workers for it."""
    queued = _persist(worker, lambda session: phases.advance(session, experiment_id))
    for queue, times in queued.items():
        try:
            broker.wake(worker.celery, queue, times)
        except BrokerUnreachable as error:
            log.warning("no wake-up was sent for %d trials on %s, the sweeper will: %s", times, queue, error)


def _run(worker: Worker, claim: Claim, folder: Path) -> Exit:
    lease = timedelta(seconds=worker.settings.lease_seconds)
    unsaved: list[EpochReport] = []

    def observe(messages: Sequence[dict[str, Any]]) -> Standing:
        unsaved.extend(_epoch(message) for message in messages if message["kind"] == "epoch")
        try:
            with worker.database.write() as session:
                if any(message["kind"] == "started" for message in messages):
                    runs.forget_epochs(session, claim)  # a resumed trial tells of its earlier epochs again
                standing = runs.heartbeat(session, claim, lease, unsaved)
        except runs.LeaseLost:
            return "lost"
        except DatabaseUnreachable as error:
            log.warning("the database did not answer a heartbeat, training goes on: %s", error)
            return "ours"
        unsaved.clear()
        return standing

    prepared = _prepare(worker, claim, folder)
    return supervise(
        [sys.executable, "-m", worker.settings.trial_module],
        folder,
        observe,
        worker.stopping,
        heartbeat_seconds=worker.settings.lease_seconds / 4,
        limit_seconds=prepared.experiment.limits.trial_minutes * 60,
    )


def _prepare(worker: Worker, claim: Claim, folder: Path) -> Job:
    """Writes the job; what an earlier attempt on this machine left to resume from stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in ("messages.jsonl", "outcome.json"):
        (folder / stale).unlink(missing_ok=True)
    with worker.database.read() as session:
        prepared = _job(session, claim)
    job.write(folder / "job.json", prepared)
    return prepared


def _job(session: Session, claim: Claim) -> Job:
    trial = session.get_one(Trial, claim.trial_id)
    spec = ExperimentSpec.model_validate(session.get_one(Experiment, claim.experiment_id).spec)
    dataset = session.get(DatasetRow, spec.dataset)
    openings = session.scalars(select(TestOpening).where(TestOpening.experiment_id == claim.experiment_id))
    return Job.model_validate(
        {
            "trial_id": claim.trial_id,
            "experiment_id": claim.experiment_id,
            "name": trial.name,
            "attempt": claim.attempt,
            "experiment": spec,
            "work": trial.spec,
            "dataset": None
            if dataset is None
            else RegisteredFile(
                name=dataset.name,
                sha256=dataset.sha256,
                store_key=dataset.store_key,
                lesions_store_key=dataset.lesions_store_key,
            ),
            "prior_openings": tuple(
                PriorOpening(
                    experiment_id=opening.experiment_id,
                    bundle_sha256=opening.bundle_sha256,
                    threshold=opening.threshold,
                    opened_at=opening.opened_at.isoformat(),
                )
                for opening in openings
            ),
        }
    )


def _epoch(message: dict[str, Any]) -> EpochReport:
    return EpochReport(**{key: value for key, value in message.items() if key != "kind"})


def _persist(worker: Worker, change: Callable[[Session], Answer]) -> Answer:
    """Makes one change in one transaction, waiting out a database that is away for a while."""
    deadline = time.monotonic() + DATABASE_PATIENCE_SECONDS
    while True:
        try:
            with worker.database.write() as session:
                return change(session)
        except DatabaseUnreachable as error:
            if time.monotonic() > deadline:
                raise
            log.warning("the database did not answer, trying again: %s", error)
            time.sleep(1)
