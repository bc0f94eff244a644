"""Experiments and trials as the API shows them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from dermatriage_client.schemas import EpochRead, ExperimentRead, FailureRead, ResultRead, TrialRead, WaitingRead
from models_store.tables import EpochRow, Experiment, Model, Trial
from service.experiments.waiting import waiting_places
from service.system.worker_status import live_workers, slots

NO_PLACES: Mapping[str, WaitingRead] = MappingProxyType({})


def show_experiments(
    session: Session, rows: Sequence[Experiment], waiting: Mapping[str, WaitingRead] = NO_PLACES
) -> list[ExperimentRead]:
    """Reads the attempts, and the test figures, of all of them in one query each. `waiting` are `places_of` them."""
    ids = [row.id for row in rows]
    counted = (
        select(Trial.experiment_id, func.sum(Trial.attempts))
        .where(Trial.experiment_id.in_(ids))
        .group_by(Trial.experiment_id)
    )
    attempts = dict(session.execute(counted).all())
    figures = _test_figures(session, Model.experiment_id, ids)
    return [_experiment(row, attempts.get(row.id, 0), figures.get(row.id), waiting.get(row.id)) for row in rows]


def show_experiment(
    session: Session, row: Experiment, waiting: Mapping[str, WaitingRead] = NO_PLACES
) -> ExperimentRead:
    return show_experiments(session, [row], waiting)[0]


def places_of(session: Session, rows: Sequence[Experiment], broker_url: str) -> dict[str, WaitingRead]:
    """The places of queued experiments, by id. The heartbeats of the workers give the number of their slots."""
    queues = {row.spec["queue"] for row in rows if row.status == "queued"}
    live = (live_workers(broker_url) or ()) if queues else ()
    places: dict[str, WaitingRead] = {}
    for queue in queues:
        places |= waiting_places(session, queue, slots(live, queue))
    return places


def show_trials(session: Session, rows: Sequence[Trial], *, epochs: bool) -> list[TrialRead]:
    """Reads the epochs of all of them, if requested, in one query. A final trial has the figures of its model."""
    trials = [TrialRead.model_validate(row) for row in rows]
    figures = _test_figures(session, Model.trial_id, [row.id for row in rows if row.kind == "finalize"])
    trials = [trial.model_copy(update={"metrics": figures.get(trial.id, trial.metrics)}) for trial in trials]
    if not epochs:
        return trials
    by_trial: dict[str, list[EpochRead]] = {row.id: [] for row in rows}
    chosen = select(EpochRow).where(EpochRow.trial_id.in_(by_trial)).order_by(EpochRow.number)
    for epoch in session.scalars(chosen):
        by_trial[epoch.trial_id].append(EpochRead.model_validate(epoch))
    return [trial.model_copy(update={"epochs": by_trial[trial.id]}) for trial in trials]


def _test_figures(session: Session, key: InstrumentedAttribute[str], ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    return dict(session.execute(select(key, Model.metrics).where(key.in_(ids))).all()) if ids else {}


def _experiment(
    row: Experiment, attempts: int, figures: dict[str, Any] | None, waiting: WaitingRead | None
) -> ExperimentRead:
    columns = ("id", "status", "phase", "progress", "spec", "submitted_by", "created_at", "started_at", "finished_at")
    return ExperimentRead(
        **{name: getattr(row, name) for name in columns},
        attempts=attempts,
        waiting=waiting,
        result=None if row.result is None else ResultRead.model_validate({**row.result, "test": figures}),
        error=None if row.error is None else FailureRead.model_validate(row.error),
    )
