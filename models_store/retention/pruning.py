"""Removes what the settings no longer keep: checkpoints, logs and events of ended experiments, and old predictions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from models_store.database import Database, now
from models_store.retention import checkpoints
from models_store.runs import UNFINISHED
from models_store.runs.journal import lock
from models_store.settings import Settings
from models_store.store.folders import prediction_image, trial_checkpoints
from models_store.store.storage import Storage
from models_store.tables import Event, Experiment, Model, PredictionRow, Trial, TrialLog

PORTION = 1000


@dataclass(frozen=True)
class Pruned:
    """How much of each kind was removed, or would be."""

    checkpoints: int
    checkpoint_bytes: int
    logs: int
    events: int
    predictions: int


def prune(database: Database, storage: Storage, settings: Settings, *, dry_run: bool = False) -> Pruned:
    """Removes in one transaction for each experiment and each portion of predictions. With `dry_run` it only counts."""
    sizes = _checkpoints(database, storage, settings, dry_run)
    return Pruned(
        checkpoints=len(sizes),
        checkpoint_bytes=sum(sizes),
        logs=_of_experiments(database, settings.keep_logs_days, LOGS, _without_logs, dry_run),
        events=_of_experiments(database, settings.keep_events_days, EVENTS, _without_events, dry_run),
        predictions=_predictions(database, storage, settings.keep_predictions_days, dry_run),
    )


def _checkpoints(database: Database, storage: Storage, settings: Settings, dry_run: bool) -> list[int]:
    """The bytes of each."""
    with database.read() as session:
        experiments = checkpoints.with_prunable(session, settings)
    sizes = []
    for experiment_id in experiments:
        trials = _prunable(database, experiment_id) if dry_run else _withdraw(database, experiment_id)
        sizes += [storage.size(trial_checkpoints(trial_id)) for trial_id in trials]
        if not dry_run:
            _remove_withdrawn(database, storage, trials)
    return sizes


def _prunable(database: Database, experiment_id: str) -> list[str]:
    with database.read() as session:
        return [trial.id for trial in checkpoints.prunable(session, experiment_id)]


def _withdraw(database: Database, experiment_id: str) -> list[str]:
    """Ids of trials whose checkpoints are no longer on record.

    Under the experiment's lock, so that a retry either finds its checkpoints or is refused.
    """
    with database.write() as session:
        if not _has_ended(session, experiment_id):
            return []
        trials = checkpoints.prunable(session, experiment_id)
        for trial in trials:
            trial.checkpoint_key = None
        return [trial.id for trial in trials]


def _remove_withdrawn(database: Database, storage: Storage, trials: Sequence[str]) -> None:
    """Where this is interrupted, the trials keep their sha256 and are prunable again."""
    for trial_id in trials:
        storage.delete(trial_checkpoints(trial_id))
    with database.write() as session:
        session.execute(update(Trial).where(Trial.id.in_(trials)).values(checkpoint_sha256=None))


# Rows by experiment.
LOGS = select(Trial.experiment_id, func.count()).join(TrialLog).join(Experiment).group_by(Trial.experiment_id)
EVENTS = select(Event.experiment_id, func.count()).join(Experiment).group_by(Event.experiment_id)


def _without_logs(session: Session, experiment_id: str) -> None:
    trials = select(Trial.id).where(Trial.experiment_id == experiment_id)
    session.execute(delete(TrialLog).where(TrialLog.trial_id.in_(trials)))


def _without_events(session: Session, experiment_id: str) -> None:
    session.execute(delete(Event).where(Event.experiment_id == experiment_id))


def _of_experiments(
    database: Database,
    days: float | None,
    by_experiment: Select[str, int],
    remove: Callable[[Session, str], None],
    dry_run: bool,
) -> int:
    """Rows of experiments that ended more than `days` ago; None keeps all."""
    if days is None:
        return 0
    with database.read() as session:
        is_old = Experiment.finished_at < now(session) - timedelta(days=days)
        counts = session.execute(by_experiment.where(is_old)).all()
    if dry_run:
        return sum(rows for _, rows in counts)
    removed = 0
    for experiment_id, rows in counts:
        with database.write() as session:
            if _has_ended(session, experiment_id):
                remove(session, experiment_id)
                removed += rows
    return removed


def _has_ended(session: Session, experiment_id: str) -> bool:
    """Locks the experiment: it may have been retried since it was found."""
    return lock(session, experiment_id, deleted=True).status not in UNFINISHED


def _predictions(database: Database, storage: Storage, days: float | None, dry_run: bool) -> int:
    if days is None:
        return 0
    with database.read() as session:
        cutoff = now(session) - timedelta(days=days)
        # Every prediction has a model; with their versions the query uses the index on version and moment.
        old = (PredictionRow.model_version.in_(select(Model.version)), PredictionRow.created_at < cutoff)
        if dry_run:
            return session.scalar(select(func.count()).select_from(PredictionRow).where(*old)) or 0
    removed = 0
    while True:
        with database.read() as session:
            portion = session.scalars(select(PredictionRow).where(*old).limit(PORTION)).all()
        _remove_predictions(database, storage, portion)
        removed += len(portion)
        if len(portion) < PORTION:
            return removed


def _remove_predictions(database: Database, storage: Storage, predictions: Sequence[PredictionRow]) -> None:
    """Removes the images first, so that after an interruption the rows still name the remaining ones."""
    for prediction in predictions:
        if prediction.image_stored:
            storage.delete(prediction_image(prediction.id, prediction.created_at))
    with database.write() as session:
        session.execute(delete(PredictionRow).where(PredictionRow.id.in_([row.id for row in predictions])))
