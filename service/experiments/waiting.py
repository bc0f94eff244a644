"""The place of experiments in the queue, when they are expected to start, and the estimate of one behind them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from math import inf, isfinite
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from dermatriage_client.schemas import Estimate, WaitingRead
from models_store.contract.specs import ExperimentSpec
from models_store.database import now
from models_store.experiment.phases import epochs_of, screening
from models_store.runs import CLAIM_ORDER, UNFINISHED
from models_store.tables import Experiment, Trial
from service.experiments.costs import costs
from service.experiments.durations import final_seconds, finalists
from service.experiments.estimate import Network, epoch_seconds, estimate
from service.experiments.forecast import Work, forecast
from service.system.worker_status import heard_workers, slots

# The durations of so many experiments are forecast; whoever waits behind them has a place and no expected start.
MOST_FORECAST = 100


def waiting_places(session: Session, queue: str, room: int) -> dict[str, WaitingRead]:
    """The place of every experiment that waits for this queue, by id."""
    rows = _unfinished(session, queue)
    starts = _starts(session, [row_id for row_id, _, _ in rows[:MOST_FORECAST]], room)
    waiting = [row_id for row_id, status, _ in rows if status == "queued"]
    moment = now(session)
    return {
        row_id: WaitingRead(position=position, expected_start=_at(moment, starts.get(row_id, inf)))
        for position, row_id in enumerate(waiting, 1)
    }


def estimate_in_queue(session: Session, spec: ExperimentSpec, broker_url: str) -> Estimate:
    """On the workers that there are, behind every unfinished experiment of its queue with at least its priority."""
    room = slots(heard_workers(broker_url) or (), spec.queue)
    ahead = [row_id for row_id, _, priority in _unfinished(session, spec.queue) if priority >= spec.priority]
    starts = inf
    if len(ahead) <= MOST_FORECAST:
        starts, _ = forecast([*_works(session, ahead), Work((), [[costs().start_seconds]])], room)[-1]
    outlook = {"ahead": len(ahead), "starts_in_seconds": starts if isfinite(starts) else None}
    return estimate(session, spec, room).model_copy(update=outlook)


def _unfinished(session: Session, queue: str) -> list[tuple[str, str, int]]:
    """Id, status and priority in the order of claims."""
    chosen = select(Experiment.id, Experiment.status, Experiment.priority).where(
        Experiment.status.in_(("queued", "running")), Experiment.spec["queue"].as_string() == queue
    )
    return [(row_id, status, priority) for row_id, status, priority in session.execute(chosen.order_by(*CLAIM_ORDER))]


def _starts(session: Session, ids: Sequence[str], room: int) -> dict[str, float]:
    forecasts = forecast(_works(session, ids), room)
    return {row_id: starts for row_id, (starts, _) in zip(ids, forecasts, strict=True)}


def _works(session: Session, ids: Sequence[str]) -> list[Work]:
    chosen = select(Experiment.id, Experiment.spec).where(Experiment.id.in_(ids))
    specs = {row_id: spec for row_id, spec in session.execute(chosen)}
    trials: dict[str, list[Trial]] = {row_id: [] for row_id in ids}
    for trial in session.scalars(select(Trial).where(Trial.experiment_id.in_(ids))):
        trials[trial.experiment_id].append(trial)
    known: dict[tuple[Any, ...], Mapping[Network, float]] = {}
    works = []
    for row_id in ids:
        try:
            spec = ExperimentSpec.model_validate(specs[row_id])
        except ValidationError:  # the sweeper fails an experiment of a version whose specs nobody reads any more
            works.append(Work((), [[inf]]))
            continue
        alike = (spec.dataset, spec.queue, spec.recipe, spec.architectures, spec.input_sizes)
        if alike not in known:
            known[alike] = epoch_seconds(session, spec)
        works.append(work_left(spec, trials[row_id], known[alike]))
    return works


def work_left(spec: ExperimentSpec, trials: Sequence[Trial], epochs: Mapping[Network, float]) -> Work:
    """Every trial trains all its epochs, and the networks with the longest ones win."""
    phase = max((trial.phase for trial in trials), default=1)
    left = [trial for trial in trials if trial.status in UNFINISHED]
    screened = [
        (trial.most_epochs(spec.epochs), epochs.get(Network(trial.architecture, trial.input_size), inf))
        for trial in screening(spec).values()
    ]
    _, dearest = finalists(spec, [seconds for _, seconds in screened])
    final = final_seconds(spec, dearest)
    tuning = costs().start_seconds + max(count * seconds for count, seconds in screened)
    later = {2: [tuning] * len(spec.strategies), 3: [final]}

    def seconds_left(trial: Trial) -> float:
        if trial.kind == "finalize":
            return final
        network = Network(trial.spec.get("architecture", ""), trial.spec.get("input_size"))
        return max(0, epochs_of(trial, spec) - trial.epochs_done) * epochs.get(network, inf)

    running = [seconds_left(trial) for trial in left if trial.status != "queued"]
    waiting = [costs().start_seconds + seconds_left(trial) for trial in left if trial.status == "queued"]
    return Work(running, [waiting, *(seconds for number, seconds in later.items() if number > phase)])


def _at(moment: datetime, seconds: float) -> datetime | None:
    return moment + timedelta(seconds=seconds) if isfinite(seconds) else None
