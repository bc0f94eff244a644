"""Removes what the settings no longer keep: checkpoints, logs and events of ended experiments, and old predictions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from models_store.database import Database, now
from models_store.retention import checkpoints
from models_store.runs import UNFINISHED
from models_store.runs.journal import lock
from models_store.settings import Settings
from models_store.store.folders import prediction_image
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
    """Each experiment and each portion of predictions in a transaction of its own. With `dry_run` it only counts."""
    sizes = _checkpoints(database, storage, settings, dry_run)
    return Pruned(
        checkpoints=len(sizes),
        checkpoint_bytes=sum(sizes),
        logs=_of_experiments(database, settings.keep_logs_days, _logs, dry_run),
        events=_of_experiments(database, settings.keep_events_days, _events, dry_run),
        predictions=_predictions(database, storage, settings.keep_predictions_days, dry_run),
    )


def _checkpoints(database: Database, storage: Storage, settings: Settings, dry_run: bool) -> list[int]:
    """The bytes of each."""
    with database.read() as session:
        experiments = checkpoints.with_prunable(session, settings)
    sizes: list[int] = []
    for experiment_id in experiments:
        with database.read() if dry_run else database.write() as session:
            sizes += _checkpoints_of(session, storage, experiment_id, dry_run)
    return sizes


def _checkpoints_of(session: Session, storage: Storage, experiment_id: str, dry_run: bool) -> list[int]:
    """Under the experiment's lock, so that a retry finds its checkpoints or learns that they are gone."""
    if not dry_run and lock(session, experiment_id, deleted=True).status in UNFINISHED:
        return []
    sizes = []
    for trial in checkpoints.prunable(session, experiment_id):
        sizes.append(storage.size(f"trials/{trial.id}"))
        if not dry_run:
            storage.delete(f"trials/{trial.id}")
            trial.checkpoint_key = None
    return sizes


Rows = Callable[[Session, str, bool], int]


def _of_experiments(database: Database, days: float | None, rows: Rows, dry_run: bool) -> int:
    """Rows of experiments that ended more than `days` ago; None keeps all."""
    if days is None:
        return 0
    with database.read() as session:
        ended = select(Experiment.id).where(Experiment.finished_at < now(session) - timedelta(days=days))
        with_rows = [experiment_id for experiment_id in session.scalars(ended) if rows(session, experiment_id, True)]
    removed = 0
    for experiment_id in with_rows:
        with database.read() if dry_run else database.write() as session:
            removed += rows(session, experiment_id, dry_run)
    return removed


def _logs(session: Session, experiment_id: str, dry_run: bool) -> int:
    trials = select(Trial.id).where(Trial.experiment_id == experiment_id)
    found = session.scalar(select(func.count()).select_from(TrialLog).where(TrialLog.trial_id.in_(trials))) or 0
    if not dry_run:
        session.execute(delete(TrialLog).where(TrialLog.trial_id.in_(trials)))
    return found


def _events(session: Session, experiment_id: str, dry_run: bool) -> int:
    of_it = Event.experiment_id == experiment_id
    found = session.scalar(select(func.count()).select_from(Event).where(of_it)) or 0
    if not dry_run:
        session.execute(delete(Event).where(of_it))
    return found


def _predictions(database: Database, storage: Storage, days: float | None, dry_run: bool) -> int:
    if days is None:
        return 0
    with database.read() as session:
        cutoff = now(session) - timedelta(days=days)
        # Every prediction has a model; naming them lets the index on version and moment answer.
        old = (PredictionRow.model_version.in_(select(Model.version)), PredictionRow.created_at < cutoff)
        found = session.scalar(select(func.count()).select_from(PredictionRow).where(*old)) or 0
    if dry_run:
        return found
    removed = 0
    while True:
        with database.write() as session:
            portion = session.scalars(select(PredictionRow).where(*old).limit(PORTION)).all()
            _remove(session, storage, portion)
        removed += len(portion)
        if len(portion) < PORTION:
            return removed


def _remove(session: Session, storage: Storage, predictions: Sequence[PredictionRow]) -> None:
    for prediction in predictions:
        if prediction.image_stored:
            storage.delete(prediction_image(prediction.id, prediction.created_at))
    session.execute(delete(PredictionRow).where(PredictionRow.id.in_([row.id for row in predictions])))
