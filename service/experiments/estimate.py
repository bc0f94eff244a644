"""Estimates how long an experiment takes on the available workers, and names the data behind the estimate."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models_store.contract.specs import ExperimentSpec
from models_store.datasets.official import OFFICIAL_NAMES
from models_store.datasets.synthetic import OFFICIAL_SIZES, SYNTHETIC_SETS
from models_store.experiment.phases import planned_trials, screening
from models_store.tables import DatasetRow, EpochRow, Experiment, Trial

COSTS = Path(__file__).parent / "costs.json"
# Enough trials for a median of every architecture, and few enough to read at every change of the form.
LATEST_TRIALS = 300
# Export through TensorFlow, calibration and the test take about this long for every network.
FINAL_SECONDS = 60.0


@dataclass(frozen=True)
class Estimate:
    """Seconds if the fastest or the slowest network wins and every trial trains all its epochs.

    `slots` is the number of trials that the workers run at once; if it is 0, the seconds assume one at a time.
    If `unknown` names networks, no duration of their epochs is known, and both durations are 0.
    """

    shortest_seconds: float
    longest_seconds: float
    trials: int
    slots: int
    from_records: Sequence[str]
    from_table: Sequence[str]
    unknown: Sequence[str]
    machine: str


@cache
def table() -> dict[str, Any]:
    """Seconds per image of 28 pixels by architecture, measured by `python -m benchmarks.epoch_costs`."""
    costs: dict[str, Any] = json.loads(COSTS.read_text())
    return costs


def estimate(session: Session, spec: ExperimentSpec, slots: int) -> Estimate:
    """From recorded epochs of the same architecture and data set, otherwise from the table scaled to the data set."""
    recorded, tabled = _recorded(session, spec), _tabled(session, spec)
    names = sorted(set(spec.architectures))
    unknown = [name for name in names if name not in recorded and name not in tabled]
    shortest, longest = (
        (0.0, 0.0)
        if unknown
        else _seconds(spec, {name: recorded[name] if name in recorded else tabled[name] for name in names}, slots)
    )
    return Estimate(
        shortest_seconds=shortest,
        longest_seconds=longest,
        trials=planned_trials(spec),
        slots=slots,
        from_records=[name for name in names if name in recorded],
        from_table=[name for name in names if name not in recorded and name in tabled],
        unknown=unknown,
        machine=str(table()["machine"]),
    )


def epoch_seconds(session: Session, spec: ExperimentSpec) -> Mapping[str, float]:
    """Seconds of an epoch by architecture; what nobody has measured is missing."""
    return {**_tabled(session, spec), **_recorded(session, spec)}


def start_seconds() -> float:
    """What a trial's process takes before it trains."""
    return float(table()["start_seconds"])


def _seconds(spec: ExperimentSpec, epochs: Mapping[str, float], slots: int) -> tuple[float, float]:
    """Of the whole experiment, if the fastest network wins Phase 1 and if the slowest does."""
    start = start_seconds()
    at_once = max(1, slots)
    first = [start + spec.epochs * epochs[trial.architecture] for trial in screening(spec).values()]
    tuned = [start + spec.epochs * cost for cost in (min(epochs.values()), max(epochs.values()))]
    shortest, longest = (
        _spread(first, at_once) + _spread([seconds] * len(spec.strategies), at_once) for seconds in tuned
    )
    return shortest + FINAL_SECONDS, longest + FINAL_SECONDS


def _spread(trials: Sequence[float], slots: int) -> float:
    """The busiest slot if each trial goes to the slot that is free first."""
    free = [0.0] * slots
    for seconds in trials:
        free[free.index(min(free))] += seconds
    return max(free)


def _tabled(session: Session, spec: ExperimentSpec) -> Mapping[str, float]:
    images, size = _training_size(session, spec.dataset)
    scale = images * (size / table()["image_size"]) ** 2
    return {name: cost * scale for name, cost in table()["seconds_an_image"].items()}


def _recorded(session: Session, spec: ExperimentSpec) -> Mapping[str, float]:
    """Median seconds per epoch by architecture, over the latest trials on this data set and queue."""
    latest = session.execute(
        select(Trial.id, Trial.spec["architecture"].as_string())
        .join(Experiment)
        .where(
            Experiment.spec["dataset"].as_string() == spec.dataset,
            Trial.kind == "train",
            Trial.queue == spec.queue,
            Trial.epochs_done > 0,
        )
        .order_by(Trial.created_at.desc())
        .limit(LATEST_TRIALS)
    )
    names = {trial_id: name for trial_id, name in latest}
    means = select(EpochRow.trial_id, func.avg(EpochRow.seconds)).where(EpochRow.trial_id.in_(names))
    by_name: defaultdict[str, list[float]] = defaultdict(list)
    for trial_id, seconds in session.execute(means.group_by(EpochRow.trial_id)):
        by_name[names[trial_id]].append(float(seconds))
    return {name: median(costs) for name, costs in by_name.items()}


def _training_size(session: Session, dataset: str) -> tuple[int, int]:
    """The number of images in an epoch and their side in pixels."""
    row = session.get(DatasetRow, dataset)
    if row is not None:
        return _train_images(row.counts), row.image_size
    if dataset in SYNTHETIC_SETS:
        size, counts = SYNTHETIC_SETS[dataset]
        return counts[0], size
    tail = dataset.rpartition("_")[2]
    return OFFICIAL_SIZES[0], int(tail) if dataset in OFFICIAL_NAMES and tail.isdigit() else 28


def _train_images(counts: Mapping[str, Any]) -> int:
    train = counts.get("train", {})
    total = sum(value for value in train.values() if isinstance(value, int)) if isinstance(train, dict) else int(train)
    return total or OFFICIAL_SIZES[0]
