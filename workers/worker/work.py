"""One trial from claim to record. Each step is its own short transaction, because training lasts hours."""

import logging
import shutil
from datetime import timedelta

from sqlalchemy.orm import Session

from models_store import runs
from models_store.contract.outcomes import Exit
from models_store.runs import UNFINISHED, Claim
from models_store.tables import Trial
from workers.trial import resume_store
from workers.worker import cleaning
from workers.worker.attempt import attempt
from workers.worker.context import Slot, Worker, attempt_folder, with_retries
from workers.worker.watch import read_log

log = logging.getLogger(__name__)


def run_next_trial(worker: Worker, queue: str) -> bool:
    """Claims, runs and records one queued trial; false if none is queued or the disk has no room for one.

    Without this check a worker whose disk is full would quickly use up the attempts of every queued trial.
    """
    if not _has_room(worker):
        return False
    with worker.slot() as slot:
        lease = timedelta(seconds=worker.settings.lease_seconds)
        with worker.database.write() as session:
            claim = runs.claim_next(session, [queue], worker.name, lease)
        if claim is None:
            return False
        ended = _attempt(worker, claim, slot)
        if ended.reason == "stopped":
            _store_resume_point(worker, claim)
        _record(worker, claim, ended)
        _follow_up(worker, claim)
        return True


def advance(worker: Worker, experiment_id: str) -> None:
    """Opens the next phase of the experiment, or ends it."""
    with_retries(worker.database.write, lambda session: runs.advance(session, experiment_id))


def _has_room(worker: Worker) -> bool:
    root, least = worker.settings.work_root, worker.settings.least_scratch_bytes
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if free < least:
        log.error("no trial is taken: %s has %d bytes free, and a trial may need %d", root, free, least)
    return free >= least


def _attempt(worker: Worker, claim: Claim, slot: Slot) -> Exit:
    try:
        return attempt(worker, claim, slot)
    except Exception as error:  # such as a full disk; the trial must not wait until its lease expires
        log.exception("trial %s could not be run", claim.trial_id)
        return Exit(reason="crashed", cause=f"its worker could not run it: {error!r}")


def _store_resume_point(worker: Worker, claim: Claim) -> None:
    """Stores the latest resume point of a stopped trial, from which another worker continues."""
    folder = attempt_folder(worker, claim)
    try:
        if resume_store.epochs_behind(folder) > 0:
            point = resume_store.upload(folder, claim.trial_id, worker.storage)
            with_retries(worker.database.write, lambda session: runs.store_resume_point(session, claim, point))
    except (OSError, runs.LeaseLost) as error:
        log.warning("the resume point of trial %s was not uploaded: %s", claim.trial_id, error)


def _record(worker: Worker, claim: Claim, ended: Exit) -> None:
    settings = worker.settings
    tail = read_log(attempt_folder(worker, claim))

    def write(session: Session) -> None:
        if tail is not None:
            tail.store(session, claim)
        runs.record(session, claim, ended, settings.max_attempts, settings.promotion_policy)

    try:
        with_retries(worker.database.write, write)
    except runs.LeaseLost as lost:
        log.warning("dropped a result: %s", lost)


def _follow_up(worker: Worker, claim: Claim) -> None:
    status = with_retries(worker.database.read, lambda session: session.get_one(Trial, claim.trial_id).status)
    if status not in UNFINISHED:
        cleaning.remove_traces(worker, claim.trial_id)
        advance(worker, claim.experiment_id)
