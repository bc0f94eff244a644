"""Rows of experiments and trials as answers."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dermatriage_client.schemas import EpochRead, ExperimentRead, FailureRead, TrialRead
from models_store.tables import EpochRow, Experiment, Trial


def show_experiments(session: Session, rows: Sequence[Experiment]) -> list[ExperimentRead]:
    """Reads the attempts of all of them in one query."""
    counted = (
        select(Trial.experiment_id, func.sum(Trial.attempts))
        .where(Trial.experiment_id.in_([row.id for row in rows]))
        .group_by(Trial.experiment_id)
    )
    attempts = dict(session.execute(counted).all())
    return [_experiment(row, attempts.get(row.id, 0)) for row in rows]


def show_experiment(session: Session, row: Experiment) -> ExperimentRead:
    return show_experiments(session, [row])[0]


def show_trials(session: Session, rows: Sequence[Trial], *, epochs: bool) -> list[TrialRead]:
    """Reads the epochs of all of them, if asked for, in one query."""
    trials = [TrialRead.model_validate(row) for row in rows]
    if not epochs:
        return trials
    by_trial: dict[str, list[EpochRead]] = {row.id: [] for row in rows}
    chosen = select(EpochRow).where(EpochRow.trial_id.in_(by_trial)).order_by(EpochRow.number)
    for epoch in session.scalars(chosen):
        by_trial[epoch.trial_id].append(EpochRead.model_validate(epoch))
    return [trial.model_copy(update={"epochs": by_trial[trial.id]}) for trial in trials]


def _experiment(row: Experiment, attempts: int) -> ExperimentRead:
    return ExperimentRead.model_validate(
        {
            "id": row.id,
            "status": row.status,
            "phase": row.phase,
            "progress": row.progress,
            "spec": row.spec,
            "attempts": attempts,
            "created_at": row.created_at,
            "started_at": row.started_at,
            "finished_at": row.finished_at,
            "result": row.result,
            "error": None if row.error is None else FailureRead.model_validate(row.error),
        }
    )
