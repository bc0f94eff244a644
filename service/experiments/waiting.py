"""The place of experiments in the queue, when they are expected to start, and the estimate of one behind them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from math import inf, isfinite
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from dermatriage_client.schemas import Estimate, WaitingRead
from models_store.contract.specs import ExperimentSpec
from models_store.database import now
from models_store.experiment.phases import epochs_of, screening
from models_store.runs import CLAIM_ORDER, UNFINISHED
from models_store.tables import Experiment, Trial
from service.experiments.costs import costs
from service.experiments.durations import FINAL_QUEUE, final_seconds_between
from service.experiments.estimate import Epochs, Network, epochs_of_networks, estimate
from service.experiments.forecast import Work, forecast
from service.system.worker_status import live_workers, slots

# Only so many experiments are forecast; those behind them have a place but no expected start.
MAX_FORECAST = 100


def waiting_places(session: Session, queue: str, room: int) -> dict[str, WaitingRead]:
    """The place of every experiment that waits for this queue, by id."""
    rows = _unfinished(session, queue)
    starts = _starts(session, [row_id for row_id, _, _ in rows[:MAX_FORECAST]], room)
    waiting = [row_id for row_id, status, _ in rows if status == "queued"]
    moment = now(session)
    return {
        row_id: WaitingRead(position=position, expected_start=_at(moment, starts.get(row_id, inf)))
        for position, row_id in enumerate(waiting, 1)
    }


def estimate_in_queue(session: Session, spec: ExperimentSpec, broker_url: str) -> Estimate:
    """On the workers that there are, behind every unfinished experiment of its queue with at least its priority."""
    room = slots(live_workers(broker_url) or (), spec.queue)
    ahead = [row_id for row_id, _, priority in _unfinished(session, spec.queue) if priority >= spec.priority]
    starts = inf
    if len(ahead) <= MAX_FORECAST:
        starts, _ = forecast([*_works(session, ahead), Work((), [[costs().start_seconds]])], room)[-1]
    queue_estimate = {"ahead": len(ahead), "starts_in_seconds": starts if isfinite(starts) else None}
    return estimate(session, spec, room).model_copy(update=queue_estimate)


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
    chosen = select(Experiment.id, Experiment.phase, Experiment.spec).where(Experiment.id.in_(ids))
    experiments = {row_id: (phase, spec) for row_id, phase, spec in session.execute(chosen)}
    left = _trials_left(session, ids)
    known: dict[tuple[Any, ...], Epochs] = {}
    works = []
    for row_id in ids:
        phase, content = experiments[row_id]
        try:
            spec = ExperimentSpec.model_validate(content)
        except ValidationError:  # the sweeper fails an experiment whose spec this version cannot read
            works.append(Work((), [[inf]]))
            continue
        key = (spec.dataset, spec.queue, spec.recipe, spec.architectures, spec.input_sizes)
        if key not in known:
            known[key] = epochs_of_networks(session, spec)
        works.append(_work_left(spec, phase, left[row_id], known[key]))
    return works


def _trials_left(session: Session, ids: Sequence[str]) -> dict[str, list[Trial]]:
    columns = (Trial.experiment_id, Trial.kind, Trial.queue, Trial.status, Trial.spec, Trial.epochs_done)
    chosen = select(Trial).where(Trial.experiment_id.in_(ids), Trial.status.in_(UNFINISHED))
    trials: dict[str, list[Trial]] = {row_id: [] for row_id in ids}
    for trial in session.scalars(chosen.options(load_only(*columns))):
        trials[trial.experiment_id].append(trial)
    return trials


def _work_left(spec: ExperimentSpec, phase: int, left: Sequence[Trial], epochs: Epochs) -> Work:
    """On the slots of its queue: every trial trains all its epochs, and the networks with the longest ones win.

    Phase 3 takes a slot of another queue unless the experiment's is `FINAL_QUEUE`.
    """
    screened = [(trial, Network(trial.architecture, trial.input_size)) for trial in screening(spec).values()]
    _, final = final_seconds_between(spec, [epochs.final.get(network, inf) for _, network in screened])
    longest = max(trial.most_epochs(spec.epochs) * epochs.training.get(network, inf) for trial, network in screened)
    later = {2: [costs().start_seconds + longest] * len(spec.strategies), 3: [final]}
    if spec.queue != FINAL_QUEUE:
        del later[3]

    def seconds_left(trial: Trial) -> float:
        if trial.kind == "finalize":
            return final
        network = Network(trial.spec.get("architecture", ""), trial.spec.get("input_size"))
        return max(0, epochs_of(trial, spec) - trial.epochs_done) * epochs.training.get(network, inf)

    here = [trial for trial in left if trial.queue == spec.queue]
    running = [seconds_left(trial) for trial in here if trial.status != "queued"]
    waiting = [costs().start_seconds + seconds_left(trial) for trial in here if trial.status == "queued"]
    return Work(running, [waiting, *(seconds for number, seconds in later.items() if number > phase)])


def _at(moment: datetime, seconds: float) -> datetime | None:
    return moment + timedelta(seconds=seconds) if isfinite(seconds) else None
