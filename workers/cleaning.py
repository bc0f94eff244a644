"""What an ended trial leaves behind and nobody needs any more."""

import logging
import shutil

from sqlalchemy import select

from models_store.runs import UNFINISHED, Claim
from models_store.tables import Trial
from workers import resuming
from workers.app import Worker, folder_of

log = logging.getLogger(__name__)


def remove_traces(worker: Worker, claim: Claim) -> None:
    """Removes an ended trial's local folder, its resume points, and the checkpoints of fruitless attempts."""
    shutil.rmtree(folder_of(worker, claim.trial_id), ignore_errors=True)
    with worker.database.read() as session:
        kept = session.scalar(select(Trial.checkpoint_key).where(Trial.id == claim.trial_id))
    try:
        worker.storage.delete(resuming.prefix_of(claim.trial_id))
        for key in worker.storage.keys(f"trials/{claim.trial_id}"):
            if key != kept:
                worker.storage.delete(key)
    except OSError as error:
        log.warning("what trial %s left in the store stays there: %s", claim.trial_id, error)


def remove_abandoned_folders(worker: Worker) -> None:
    """Removes what this machine still holds of trials that have ended, perhaps elsewhere."""
    root = worker.settings.work_root.resolve()
    folders = {path.name: path for path in root.glob("trl_*")} if root.is_dir() else {}
    with worker.database.read() as session:
        unfinished = set(session.scalars(select(Trial.id).where(Trial.id.in_(folders), Trial.status.in_(UNFINISHED))))
    for trial_id in folders.keys() - unfinished:
        shutil.rmtree(folders[trial_id], ignore_errors=True)
