"""The files of deleted experiments and models."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.database import Database, now
from models_store.store.folders import trial_checkpoints
from models_store.store.storage import Storage
from models_store.tables import Experiment, Model, Trial


def with_files(session: Session) -> list[str]:
    """Experiments whose own files, or whose model's, are still to be removed."""
    experiments = select(Experiment.id).where(Experiment.deleted_at.is_not(None), Experiment.files_removed_at.is_(None))
    models = select(Model.experiment_id).where(Model.deleted_at.is_not(None), Model.files_removed_at.is_(None))
    return sorted({*session.scalars(experiments), *session.scalars(models)})


def remove_files(database: Database, storage: Storage, experiment_id: str) -> None:
    """Removes the checkpoints of a deleted experiment and the bundle of a deleted model. A second call does no harm."""
    with database.read() as session:
        keys = _keys(session, experiment_id)
    for key in keys:
        storage.delete(key)
    with database.write() as session:
        moment = now(session)
        for row in _deleted(session, experiment_id):
            row.files_removed_at = moment


def _keys(session: Session, experiment_id: str) -> list[str]:
    keys: list[str] = []
    for row in _deleted(session, experiment_id):
        if isinstance(row, Model):
            keys.append(row.store_key)
        else:
            trials = session.scalars(select(Trial.id).where(Trial.experiment_id == experiment_id))
            keys += [trial_checkpoints(trial_id) for trial_id in trials]
    return keys


def _deleted(session: Session, experiment_id: str) -> list[Experiment | Model]:
    rows = (
        session.get_one(Experiment, experiment_id),
        session.scalar(select(Model).where(Model.experiment_id == experiment_id)),
    )
    return [row for row in rows if row is not None and row.deleted_at is not None]
