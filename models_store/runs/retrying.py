"""Retry of a failed experiment, which keeps its finished trials."""

from collections.abc import Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from models_store.database import wake_after_commit
from models_store.runs.journal import add_event, lock, refresh_progress, trials_of
from models_store.tables import Delivery, EpochRow, Event, Experiment, TestOpening, Trial


class NotRetryable(RuntimeError):
    """A new attempt could finish nothing of the experiment; the message gives the reason and the remedy."""


def retry(session: Session, experiment_id: str) -> Experiment:
    """Queues the failed and stopped trials of the phase in which the experiment failed; finished trials stay.

    Earlier phases are decided and stay as they are. Time limits count from the new start.

    Raises `ExperimentNotFound` or `NotRetryable`.
    """
    experiment = lock(session, experiment_id)
    trials = trials_of(session, experiment_id)
    again = _to_repeat(session, experiment, trials)
    session.execute(delete(EpochRow).where(EpochRow.trial_id.in_([trial.id for trial in again])))
    _reopen_events(session, experiment_id)
    session.execute(delete(Delivery).where(Delivery.experiment_id == experiment_id))  # the new end sends its own
    experiment.status, experiment.error, experiment.progress = "queued", None, 0.0
    experiment.started_at = experiment.finished_at = None
    add_event(session, experiment_id, "experiment", {"status": "queued"})
    for trial in again:
        _queue(session, trial)
    refresh_progress(session, experiment_id)
    return experiment


def _to_repeat(session: Session, experiment: Experiment, trials: Sequence[Trial]) -> list[Trial]:
    if experiment.status != "failed":
        raise NotRetryable(f"experiment {experiment.id} is {experiment.status}; only a failed one can be retried")
    if session.get(TestOpening, experiment.id) is not None:
        raise NotRetryable(f"experiment {experiment.id} has opened its test set, which happens once; submit a new one")
    phase = max((trial.phase for trial in trials), default=0)
    again = [trial for trial in trials if trial.phase == phase and trial.status in ("failed", "cancelled")]
    if not again:
        raise NotRetryable(
            f"no trial of experiment {experiment.id} failed by itself, so that a retry would end in the same way; "
            "submit it again with another selection or other networks"
        )
    if any(trial.status == "succeeded" and trial.kind == "train" and trial.checkpoint_key is None for trial in trials):
        raise NotRetryable(
            f"checkpoints of experiment {experiment.id} are no longer kept; submit it again, and raise "
            "DERMATRIAGE_KEEP_FAILED_CHECKPOINTS_DAYS to have more time for a retry"
        )
    return again


def _reopen_events(session: Session, experiment_id: str) -> None:
    """Marks the earlier end as retried, so that a reader of all events does not stop there."""
    experiment_events = (Event.experiment_id == experiment_id, Event.kind == "experiment")
    for event in session.scalars(select(Event).where(*experiment_events)):
        if event.data.get("status") == "failed":
            event.data = {**event.data, "retried": True}


def _queue(session: Session, trial: Trial) -> None:
    trial.status, trial.error, trial.attempts, trial.epochs_done = "queued", None, 0, 0
    trial.worker = trial.started_at = trial.finished_at = trial.best_epoch = None
    add_event(session, trial.experiment_id, "trial", {"trial_id": trial.id, "status": "queued"})
    wake_after_commit(session, trial.queue)
