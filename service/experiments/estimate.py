"""Estimates how long an experiment takes on the available workers, and what an answer of its model will cost."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from dermatriage_client.schemas import AnswerEstimate, Estimate
from models_store.contract.catalog import input_size_of
from models_store.contract.specs import ExperimentSpec
from models_store.datasets.official import OFFICIAL_NAMES
from models_store.datasets.synthetic import OFFICIAL_SIZES, SYNTHETIC_SETS
from models_store.experiment.phases import planned_trials, screening
from models_store.tables import DatasetRow, EpochRow, Experiment, Trial
from service.experiments.costs import EpochCost, Measurement, costs, interpolated, measurements_of, nearest, with_recipe
from service.experiments.durations import FINAL_QUEUE, answer_milliseconds, experiment_seconds, network_runs

# Enough trials for a median of every network, and few enough to read at every change of the form.
LATEST_TRIALS = 300


class Network(NamedTuple):
    """What the cost of an epoch depends on within an experiment."""

    architecture: str
    input_size: int | None

    def __str__(self) -> str:
        return self.architecture if self.input_size is None else f"{self.architecture}/{self.input_size}px"


class Dataset(NamedTuple):
    """The number of training images, and their side in pixels."""

    images: int
    image_size: int


@dataclass(frozen=True)
class Epochs:
    """Seconds of an epoch of each network of an experiment; an unmeasured network is missing.

    `training` are those on the workers of its queue, `final` those on the CPU of Phase 3. `from_table` holds the
    measurements behind the networks without recorded epochs.
    """

    training: Mapping[Network, float]
    final: Mapping[Network, float]
    recorded: Collection[Network]
    from_table: Mapping[Network, Sequence[EpochCost]]


def estimate(session: Session, spec: ExperimentSpec, slots: int) -> Estimate:
    """From recorded epochs of the same network, recipe and data set, otherwise from the table of measurements."""
    trials, networks = screening(spec).values(), _networks(spec)
    epochs = epochs_of_networks(session, spec)
    unknown = _names(each for each in networks if each not in epochs.training)
    shortest, longest = None, None
    if not unknown:
        seconds = [epochs.training[each] for each in networks]
        shortest, longest = experiment_seconds(
            spec,
            [trial.most_epochs(spec.epochs) * epoch for trial, epoch in zip(trials, seconds, strict=True)],
            [epochs.final[each] for each in networks],
            costs().start_seconds,
            slots,
        )
    return Estimate(
        shortest_seconds=shortest,
        longest_seconds=longest,
        trials=planned_trials(spec),
        slots=slots,
        from_records=_names(each for each in networks if each in epochs.recorded),
        from_table=_names(epochs.from_table),
        unknown=unknown,
        machines=_machines(row for rows in epochs.from_table.values() for row in rows),
        notes=_notes(spec, epochs.from_table),
        answer=_answer(spec, networks, _dataset(session, spec.dataset)),
    )


def epochs_of_networks(session: Session, spec: ExperimentSpec) -> Epochs:
    dataset, recorded = _dataset(session, spec.dataset), _recorded(session, spec)
    rows = {each: _epoch_rows(each, spec, dataset) for each in _networks(spec)}
    tabled = {
        each: dataset.images * _cost(each, dataset, {_sizes(row): row.seconds_an_image for row in measured})
        for each, measured in rows.items()
        if measured
    }
    training = tabled | recorded
    return Epochs(
        training=training,
        final=training if spec.queue == FINAL_QUEUE else recorded | tabled,  # the table was measured on CPUs
        recorded=recorded.keys(),
        from_table={each: rows[each] for each in tabled if each not in recorded},
    )


def _networks(spec: ExperimentSpec) -> list[Network]:
    """One for each trial of Phase 1, in their order."""
    return [Network(trial.architecture, trial.input_size) for trial in screening(spec).values()]


def _epoch_rows(network: Network, spec: ExperimentSpec, dataset: Dataset) -> list[EpochCost]:
    rows = with_recipe(spec.recipe, measurements_of(network.architecture, costs().epochs))
    return nearest(rows, dataset.image_size, _input_size(network, dataset))


def _cost(network: Network, dataset: Dataset, measured: Mapping[tuple[int, int], float]) -> float:
    """The cost of a network on this data set from its costs at other sizes."""
    return interpolated(measured, dataset.image_size, _input_size(network, dataset))


def _sizes(row: Measurement) -> tuple[int, int]:
    return row.image_size, row.input_size


def _input_size(network: Network, dataset: Dataset) -> int:
    return input_size_of(network.architecture, network.input_size, dataset.image_size)


def _answer(spec: ExperimentSpec, networks: Sequence[Network], dataset: Dataset) -> AnswerEstimate:
    rows = {
        each: nearest(
            measurements_of(each.architecture, costs().answers), dataset.image_size, _input_size(each, dataset)
        )
        for each in networks
    }
    shortest, longest = None, None
    if all(rows.values()):
        single = [_cost(each, dataset, {_sizes(row): row.milliseconds for row in rows[each]}) for each in networks]
        shortest, longest = answer_milliseconds(spec, single)
    used = [row for of_network in rows.values() for row in of_network]
    return AnswerEstimate(
        network_runs=network_runs(spec, len(networks)),
        shortest_milliseconds=shortest,
        longest_milliseconds=longest,
        machines=_machines(used),
        machine_was_busy=any(row.machine_was_busy for row in used),
    )


def _notes(spec: ExperimentSpec, from_table: Mapping[Network, Sequence[EpochCost]]) -> list[str]:
    """What makes the figures of the table less certain than they are in general."""
    busy = _names(each for each, rows in from_table.items() if any(row.machine_was_busy for row in rows))
    other = _names(each for each, rows in from_table.items() if all(row.recipe != spec.recipe for row in rows))
    sentences = {
        f"Measured while other programs kept the machine busy: {', '.join(busy)}.": busy,
        f"Measured with another recipe than {spec.recipe}: {', '.join(other)}.": other,
    }
    return [sentence for sentence, names in sentences.items() if names]


def _names(networks: Iterable[Network]) -> list[str]:
    return sorted({str(each) for each in networks})


def _machines(rows: Iterable[Measurement]) -> list[str]:
    return sorted({row.machine for row in rows})


def _recorded(session: Session, spec: ExperimentSpec) -> dict[Network, float]:
    """Median seconds per epoch over the latest trials on this data set and queue with this recipe."""
    latest = session.execute(
        select(Trial.id, Trial.spec["architecture"].as_string(), Trial.spec["input_size"].as_integer())
        .join(Experiment)
        .where(
            Experiment.spec["dataset"].as_string() == spec.dataset,
            func.coalesce(Trial.spec["recipe"].as_string(), "classic") == spec.recipe,
            Trial.kind == "train",
            Trial.queue == spec.queue,
            Trial.epochs_done > 0,
        )
        .order_by(Trial.created_at.desc())
        .limit(LATEST_TRIALS)
    )
    networks = {trial_id: Network(architecture, input_size) for trial_id, architecture, input_size in latest}
    means = select(EpochRow.trial_id, func.avg(EpochRow.seconds)).where(EpochRow.trial_id.in_(networks))
    by_network: defaultdict[Network, list[float]] = defaultdict(list)
    for trial_id, seconds in session.execute(means.group_by(EpochRow.trial_id)):
        by_network[networks[trial_id]].append(float(seconds))
    return {network: median(seconds) for network, seconds in by_network.items()}


def _dataset(session: Session, name: str) -> Dataset:
    row = session.get(DatasetRow, name)
    if row is not None:
        return Dataset(_train_images(row.counts), row.image_size)
    if name in SYNTHETIC_SETS:
        size, counts = SYNTHETIC_SETS[name]
        return Dataset(counts[0], size)
    tail = name.rpartition("_")[2]
    return Dataset(OFFICIAL_SIZES[0], int(tail) if name in OFFICIAL_NAMES and tail.isdigit() else 28)


def _train_images(counts: Mapping[str, Any]) -> int:
    train = counts.get("train", {})
    total = sum(value for value in train.values() if isinstance(value, int)) if isinstance(train, dict) else int(train)
    return total or OFFICIAL_SIZES[0]
