"""The place of experiments in the queue, and when they are expected to start."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf, isfinite

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from dermatriage_client.schemas import WaitingRead
from models_store.contract.specs import ExperimentSpec
from models_store.database import now
from models_store.experiment.phases import screening
from models_store.runs import CLAIM_ORDER, UNFINISHED
from models_store.tables import Experiment, Trial
from service.experiments.estimate import FINAL_SECONDS, epoch_seconds, start_seconds
from service.experiments.forecast import Work, forecast

# The durations of so many experiments are forecast; whoever waits behind them has a place and no expected start.
MOST_FORECAST = 100


@dataclass(frozen=True)
class Outlook:
    """What an experiment that is submitted now has ahead of it; `starts_in_seconds` is None where nobody knows."""

    ahead: int
    starts_in_seconds: float | None


def waiting_places(session: Session, queue: str, slots: int) -> dict[str, WaitingRead]:
    """The place of every experiment that waits for this queue, by id."""
    rows = _unfinished(session, queue)
    starts = _starts(session, [row_id for row_id, _, _ in rows[:MOST_FORECAST]], slots)
    waiting = [row_id for row_id, status, _ in rows if status == "queued"]
    moment = now(session)
    return {
        row_id: WaitingRead(position=position, expected_start=_at(moment, starts.get(row_id, inf)))
        for position, row_id in enumerate(waiting, 1)
    }


def outlook(session: Session, spec: ExperimentSpec, slots: int) -> Outlook:
    """Where `spec` would wait: behind every unfinished experiment of its queue with at least its priority."""
    ahead = [row_id for row_id, _, priority in _unfinished(session, spec.queue) if priority >= spec.priority]
    if len(ahead) > MOST_FORECAST:
        return Outlook(len(ahead), None)
    works = [*_works(session, ahead), Work((), [[start_seconds()]])]
    starts, _ = forecast(works, slots)[-1]
    return Outlook(len(ahead), starts if isfinite(starts) else None)


def _unfinished(session: Session, queue: str) -> list[tuple[str, str, int]]:
    """Id, status and priority in the order of claims."""
    chosen = select(Experiment.id, Experiment.status, Experiment.priority).where(
        Experiment.status.in_(("queued", "running")), Experiment.spec["queue"].as_string() == queue
    )
    return [(row_id, status, priority) for row_id, status, priority in session.execute(chosen.order_by(*CLAIM_ORDER))]


def _starts(session: Session, ids: Sequence[str], slots: int) -> dict[str, float]:
    forecasts = forecast(_works(session, ids), slots)
    return {row_id: starts for row_id, (starts, _) in zip(ids, forecasts, strict=True)}


def _works(session: Session, ids: Sequence[str]) -> list[Work]:
    chosen = select(Experiment.id, Experiment.spec).where(Experiment.id.in_(ids))
    specs = {row_id: spec for row_id, spec in session.execute(chosen)}
    trials: dict[str, list[Trial]] = {row_id: [] for row_id in ids}
    for trial in session.scalars(select(Trial).where(Trial.experiment_id.in_(ids))):
        trials[trial.experiment_id].append(trial)
    costs: dict[tuple[str, str], Mapping[str, float]] = {}
    works = []
    for row_id in ids:
        try:
            spec = ExperimentSpec.model_validate(specs[row_id])
        except ValidationError:  # the sweeper fails an experiment of a version whose specs nobody reads any more
            works.append(Work((), [[inf]]))
            continue
        known = (spec.dataset, spec.queue)
        if known not in costs:
            costs[known] = epoch_seconds(session, spec)
        works.append(work_left(spec, trials[row_id], costs[known]))
    return works


def work_left(spec: ExperimentSpec, trials: Sequence[Trial], costs: Mapping[str, float]) -> Work:
    """Every trial trains all its epochs, and the network with the longest ones wins."""
    phase = max((trial.phase for trial in trials), default=1)
    left = [trial for trial in trials if trial.status in UNFINISHED]
    running = [_seconds_left(spec, trial, costs) for trial in left if trial.status != "queued"]
    waiting = [start_seconds() + _seconds_left(spec, trial, costs) for trial in left if trial.status == "queued"]
    longest = max((costs.get(trial.architecture, inf) for trial in screening(spec).values()), default=inf)
    later = {2: [start_seconds() + spec.epochs * longest] * len(spec.strategies), 3: [FINAL_SECONDS]}
    return Work(running, [waiting, *(seconds for number, seconds in later.items() if number > phase)])


def _seconds_left(spec: ExperimentSpec, trial: Trial, costs: Mapping[str, float]) -> float:
    if trial.kind == "finalize":
        return FINAL_SECONDS
    return max(0, spec.epochs - trial.epochs_done) * costs.get(trial.spec.get("architecture", ""), inf)


def _at(moment: datetime, seconds: float) -> datetime | None:
    return moment + timedelta(seconds=seconds) if isfinite(seconds) else None
