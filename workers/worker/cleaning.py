"""Removes the files that ended trials no longer need."""

import logging
import shutil
from threading import Thread

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from models_store.runs import UNFINISHED
from models_store.store.folders import model_bundle, trial_checkpoints, trial_resume_points
from models_store.tables import Model, Trial
from workers.trial.protocol import model_version
from workers.worker.context import Worker, trial_folder

log = logging.getLogger(__name__)


def remove_traces(worker: Worker, trial_id: str) -> None:
    """Removes an ended trial's local folders and whatever its attempts stored that is not on record."""
    shutil.rmtree(trial_folder(worker, trial_id), ignore_errors=True)
    remove_stored(worker, trial_id)


def remove_stored(worker: Worker, trial_id: str) -> None:
    """Removes an ended trial's resume points, and the checkpoints and bundles that are not on record."""
    with worker.database.read() as session:
        trial = session.get_one(Trial, trial_id)
        bundle = session.scalar(select(Model.store_key).where(Model.trial_id == trial_id))
    stored = [trial_resume_points(trial_id)]
    try:
        stored += [key for key in worker.storage.keys(trial_checkpoints(trial_id)) if key != trial.checkpoint_key]
        if trial.kind == "finalize":
            made = (model_bundle(model_version(trial_id, fence)) for fence in range(1, trial.fence + 1))
            stored += [key for key in made if key != bundle]
        for key in stored:
            worker.storage.delete(key)
    except Exception as error:  # each kind of store raises errors of its own
        log.warning("files of trial %s could not be removed from the store: %r", trial_id, error)


def clean_in_background(worker: Worker) -> None:
    Thread(target=clean_until_stopped, args=(worker, worker.settings.lease_seconds), name="clean", daemon=True).start()


def clean_until_stopped(worker: Worker, every_seconds: float) -> None:
    """Removes abandoned folders now and every `every_seconds`: a trial whose lease was lost here may end elsewhere."""
    while True:
        try:
            remove_abandoned_folders(worker)
        except (SQLAlchemyError, OSError) as error:
            log.warning("abandoned folders could not be removed and will be tried again: %s", error)
        if worker.stopping.wait(every_seconds):
            break


def remove_abandoned_folders(worker: Worker) -> None:
    """Removes what this machine still holds of trials that have ended, perhaps elsewhere."""
    root = worker.settings.work_root.resolve()
    folders = {path.name for path in root.glob("trl_*")} if root.is_dir() else set()
    if not folders:
        return
    with worker.database.read() as session:
        rows = session.execute(select(Trial.id, Trial.status).where(Trial.id.in_(folders))).all()
        known = {trial_id: status for trial_id, status in rows}
    for trial_id in folders:
        if trial_id not in known:
            shutil.rmtree(trial_folder(worker, trial_id), ignore_errors=True)
        elif known[trial_id] not in UNFINISHED:
            remove_traces(worker, trial_id)
