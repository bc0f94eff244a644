"""What a study may cost in time, on the workers there are: an estimate, and on what it rests."""

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
from models_store.tables import DatasetRow, EpochRow, Experiment, Trial

COSTS = Path(__file__).parent / "costs.json"
# Trials looked back at: enough for a median of every architecture, few enough to be read at every change of the form.
LATEST_TRIALS = 300
# Export through TensorFlow, calibration and one look at the test set: about this, whatever won.
FINAL_SECONDS = 60.0


@dataclass(frozen=True)
class Estimate:
    """From `least` to `most` seconds: the quickest or the slowest network may win, and every epoch be trained.

    `slots` is how many trials run at once on the workers there are; without any, the seconds are those of one.
    Where `unknown` names networks, nothing is known of their epochs, and there are no seconds.
    """

    least: float
    most: float
    trials: int
    slots: int
    recorded: Sequence[str]
    tabled: Sequence[str]
    unknown: Sequence[str]
    machine: str


@cache
def table() -> dict[str, Any]:
    """Measured by `python -m benchmarks.epoch_costs`: seconds an image of 28 pixels, by architecture, and where."""
    costs: dict[str, Any] = json.loads(COSTS.read_text())
    return costs


def estimate(session: Session, spec: ExperimentSpec, slots: int) -> Estimate:
    """Recorded epochs of the same architecture and data set where there are any, else the table scaled to the data."""
    recorded = _recorded(session, spec)
    images, size = _extent(session, spec.dataset)
    scale = images * (size / table()["image_size"]) ** 2
    tabled = {name: cost * scale for name, cost in table()["seconds_an_image"].items()}
    names = sorted(set(spec.architectures))
    unknown = [name for name in names if name not in recorded and name not in tabled]
    least, most = (
        (0.0, 0.0)
        if unknown
        else _seconds(spec, {name: recorded[name] if name in recorded else tabled[name] for name in names}, slots)
    )
    return Estimate(
        least=least,
        most=most,
        trials=len(spec.architectures) * len(spec.class_weights) + len(spec.strategies) + 1,
        slots=slots,
        recorded=[name for name in names if name in recorded],
        tabled=[name for name in names if name not in recorded and name in tabled],
        unknown=unknown,
        machine=str(table()["machine"]),
    )


def _seconds(spec: ExperimentSpec, epochs: Mapping[str, float], slots: int) -> tuple[float, float]:
    """Of the whole study, if the quickest network wins Phase 1 and if the slowest does."""
    start = table()["start_seconds"]
    at_once = max(1, slots)
    screening = [start + spec.epochs * epochs[name] for name in spec.architectures for _ in spec.class_weights]
    tuned = [start + spec.epochs * cost for cost in (min(epochs.values()), max(epochs.values()))]
    least, most = (_spread(screening, at_once) + _spread([one] * len(spec.strategies), at_once) for one in tuned)
    return least + FINAL_SECONDS, most + FINAL_SECONDS


def _spread(trials: Sequence[float], slots: int) -> float:
    """The longest queue when the next trial always goes to the first slot that is free."""
    free = [0.0] * slots
    for seconds in trials:
        free[free.index(min(free))] += seconds
    return max(free)


def _recorded(session: Session, spec: ExperimentSpec) -> Mapping[str, float]:
    """The median seconds of an epoch, by architecture, of the latest trials on this data set and queue."""
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


def _extent(session: Session, dataset: str) -> tuple[int, int]:
    """How many images of which size an epoch trains on."""
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
