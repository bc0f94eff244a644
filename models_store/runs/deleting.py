"""Deletion of an experiment: its files and details go, the record that its test set was opened stays."""

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models_store.database import now
from models_store.runs.journal import UNFINISHED, lock
from models_store.store import registry
from models_store.tables import EpochRow, Event, Model, Trial, TrialLog


class ExperimentUnfinished(RuntimeError):
    """A queued or running experiment cannot be deleted."""


def delete_experiment(session: Session, experiment_id: str, actor: str) -> None:
    """Deletes an ended experiment with its model; a second call changes nothing.

    Its row, its trials, its opening of the test set and its model's row stay as a record; the sweeper removes the
    files. Raises `ExperimentNotFound`, `ExperimentUnfinished` or `ModelIsChampion`.
    """
    experiment = lock(session, experiment_id, deleted=True)
    if experiment.deleted_at is not None:
        return
    if experiment.status in UNFINISHED:
        raise ExperimentUnfinished(f"experiment {experiment_id} is {experiment.status}")
    version = session.scalar(select(Model.version).where(Model.experiment_id == experiment_id))
    if version is not None:
        registry.delete(session, version, actor)
    experiment.deleted_at, experiment.deleted_by = now(session), actor
    experiment.idempotency_key = None  # the same experiment can be submitted again
    trials = select(Trial.id).where(Trial.experiment_id == experiment_id)
    for table in (EpochRow, TrialLog):
        session.execute(delete(table).where(table.trial_id.in_(trials)))
    session.execute(delete(Event).where(Event.experiment_id == experiment_id))
