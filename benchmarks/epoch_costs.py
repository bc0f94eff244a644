"""The cost of an epoch and of a prediction of each network on this machine, for the estimates of experiments.

    python -m benchmarks.epoch_costs [--only CNN_v1 EffLite_v1] [--image-sizes 28 64] [--images 224]

Trains each network with each recipe for two epochs on a few generated images, with random weights, and takes the second
epoch, in which nothing is compiled any more: its processor seconds, spread evenly over the cores. Images of 28 and 64
pixels; for the networks that resize inside the graph also of 128, and each with several input sizes.
`service/experiments/costs.py` computes costs between these sizes. For a prediction it takes the median run of the
exported graph on one image.

Run it on an idle machine. Each measurement is written to service/experiments/costs.json at once, and marked
`machine_was_busy` where other programs used more than a tenth of the processors meanwhile. Another run
continues: it measures what is missing, what was marked and what another machine measured. Everything takes about an
hour on two cores.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from models_store.contract.catalog import ARCHITECTURES, CLASS_WEIGHTS, RESIZING, input_size_of
from models_store.contract.recipes import RECIPES, RecipeName
from models_store.contract.records import AnswerTime
from models_store.contract.specs import CalibrationSpec, ExperimentSpec, SelectionSpec, TrialSpec
from models_store.datasets.synthetic import generate
from models_store.experiment.phases import screening
from models_store.experiment.selection import policy_for
from models_store.files import replacing
from models_store.scoring.scorer import Scorer
from service.experiments.costs import COSTS, AnswerCost, Costs, EpochCost, Measurement
from workers.pipeline import machine
from workers.pipeline.answer_time import time_answers
from workers.pipeline.backend import configure
from workers.pipeline.data import ExperimentData, experiment_data

COMMAND = "python -m benchmarks.epoch_costs"
IMAGE_SIZES = (28, 64, 128)
INPUT_SIZES = {"EffLite_v1": (56, 84, 112)}
MAX_SHARE_OF_OTHERS = 0.1
SEED = 42

Row = TypeVar("Row", bound=Measurement)


@dataclass(frozen=True)
class Network:
    """A network on images of `image_size` pixels a side, of which it sees `input_size`."""

    architecture: str
    image_size: int
    input_size: int


def main() -> None:
    arguments = _arguments()
    networks = [
        each for each in all_networks() if each.architecture in arguments.only and each.image_size in arguments.sizes
    ]
    seconds, was_busy = _watched(_start_seconds)
    if not was_busy:
        _with(Costs.model_validate_json(arguments.costs.read_text()), arguments.costs, start_seconds=round(seconds, 1))
    with tempfile.TemporaryDirectory() as name:
        measure(networks, Path(name), arguments.images, arguments.costs)


def all_networks() -> list[Network]:
    """Every size at which a network is measured, the smaller ones first."""
    return [
        Network(name, image_size, input_size)
        for image_size in IMAGE_SIZES
        for name in ARCHITECTURES
        for input_size in _input_sizes(name, image_size)
    ]


def measure(networks: Sequence[Network], folder: Path, images: int, path: Path) -> None:
    """Measures what `path` lacks of the networks, and writes each measurement to it at once.

    Rows of networks that are measured no more, such as one at a former input size, are dropped.
    """

    @cache
    def data(image_size: int) -> ExperimentData:
        few = folder / f"few-{image_size}.npz"
        generate(few, image_size=image_size, counts=(images, 64, 64), seed=SEED)
        return experiment_data(few, CalibrationSpec(), SEED)

    costs = Costs.model_validate_json(path.read_text())
    costs = _with(costs, path, epochs=_current(costs.epochs), answers=_current(costs.answers))
    for network in networks:
        for recipe in RECIPES:
            if is_missing([row for row in costs.epochs if row.recipe == recipe], network):
                row = _epoch(network, recipe, data(network.image_size))
                costs = _with(costs, path, epochs=replaced(costs.epochs, row, recipe=recipe))
        if network.image_size == IMAGE_SIZES[0] and is_missing(costs.answers, network):
            costs = _with(costs, path, answers=replaced(costs.answers, _answer(network)))


def is_missing(rows: Iterable[Measurement], network: Network) -> bool:
    """Whether no row of this network was measured by this machine while it was idle."""
    return not any(
        _network(row) == network and row.machine == machine.described() and not row.machine_was_busy for row in rows
    )


def replaced(rows: Sequence[Row], new: Row, **same: str) -> tuple[Row, ...]:
    """The rows with `new` in place of the one of the same network and recipe, in the catalogue's order."""

    def is_replaced(row: Row) -> bool:
        return _network(row) == _network(new) and all(getattr(row, name) == value for name, value in same.items())

    names = list(ARCHITECTURES)
    kept = [*(row for row in rows if not is_replaced(row)), new]
    return tuple(sorted(kept, key=lambda row: (names.index(row.architecture), row.image_size, row.input_size)))


def _current(rows: Iterable[Row]) -> tuple[Row, ...]:
    known = all_networks()
    return tuple(row for row in rows if _network(row) in known)


def _with(costs: Costs, path: Path, **changes: object) -> Costs:
    changed = costs.model_copy(update=changes)
    rows = [*changed.epochs, *changed.answers]
    busy = sum(row.machine_was_busy for row in rows)
    remeasure = f"{busy} of {len(rows)} were measured on a busy machine; on an idle one, run {COMMAND}" if busy else ""
    changed = changed.model_copy(update={"written_by": COMMAND, "remeasure": remeasure})
    with replacing(path) as beside:
        beside.write_text(changed.model_dump_json(indent=2) + "\n")
    return changed


def _epoch(network: Network, recipe: RecipeName, data: ExperimentData) -> EpochCost:
    seconds, was_busy = _watched(lambda: _in_a_process(_second_epoch, network, recipe, data))
    cost = seconds / len(data.train.labels)
    print(f"{network}, {recipe}: {cost * 1000:.2f} ms an image{', busy' if was_busy else ''}", flush=True)
    return EpochCost(
        **_provenance(network, was_busy),
        recipe=recipe,
        images=len(data.train.labels),
        seconds_an_image=float(f"{cost:.3g}"),
    )


def _second_epoch(network: Network, recipe: RecipeName, data: ExperimentData) -> float:
    """Processor seconds of the second epoch, spread over the cores."""
    from workers.pipeline.networks.building import build_model
    from workers.pipeline.training.training import Schedule, train

    trial = _trial(network, recipe)
    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        train(
            build_model(trial, network.image_size, base_weights=None, seed=SEED),
            data,
            Schedule(
                epochs=2,
                patience=2,
                batch_size=trial.batch_size,
                learning_rate=trial.learning_rate,
                class_weight=CLASS_WEIGHTS["W3"],
                seed=SEED,
                recipe=RECIPES[recipe],
            ),
            policy_for(SelectionSpec(policy="val_recall_unguarded")),
            Path(folder),
            lambda _: ends.append(time.process_time()),
        )
    return (ends[1] - ends[0]) / machine.cpus()


def _answer(network: Network) -> AnswerCost:
    took, was_busy = _watched(lambda: _in_a_process(_answer_time, network))
    print(f"{network}: {took.milliseconds} ms an answer{', busy' if was_busy else ''}", flush=True)
    return AnswerCost(**_provenance(network, was_busy), runs=took.runs, milliseconds=took.milliseconds)


def _answer_time(network: Network) -> AnswerTime:
    from workers.pipeline.export import export_onnx
    from workers.pipeline.networks.building import build_model

    with tempfile.TemporaryDirectory() as folder:
        onnx = Path(folder) / "model.onnx"
        model = build_model(_trial(network, "classic"), network.image_size, base_weights=None, seed=SEED)
        export_onnx(model, onnx)
        return time_answers(Scorer(onnx))


def _trial(network: Network, recipe: RecipeName) -> TrialSpec:
    spec = ExperimentSpec(
        dataset="synthetic",
        architectures=(network.architecture,),
        weights="none",
        recipe=recipe,
        input_sizes=(network.input_size,) if network.architecture in RESIZING else (),
        seed=SEED,
    )
    (trial,) = screening(spec).values()
    return trial


Result = TypeVar("Result")


def _in_a_process(work: Callable[..., Result], *given: object) -> Result:
    """Runs `work` in a process of its own, because TensorFlow returns no memory before its process ends.

    `work` imports Keras only after `configure` has chosen its backend.
    """
    with ProcessPoolExecutor(
        1, mp_context=get_context("spawn"), initializer=configure, initargs=("tensorflow", SEED)
    ) as pool:
        return pool.submit(work, *given).result()


def _watched(work: Callable[[], Result]) -> tuple[Result, bool]:
    """The result, and whether other programs used much processor time meanwhile."""
    began, all_before, own_before = time.perf_counter(), _busy_seconds(), _own_seconds()
    result = work()
    others = _busy_seconds() - all_before - (_own_seconds() - own_before)
    return result, others / (time.perf_counter() - began) / (os.cpu_count() or 1) > MAX_SHARE_OF_OTHERS


def _busy_seconds() -> float:
    """Processor seconds of all programs on this machine since it started."""
    user, nice, system, _idle, _waiting, *interrupts = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Processor seconds of this process and of its finished children."""
    return sum(os.times()[:4])


def _provenance(network: Network, was_busy: bool) -> dict[str, object]:
    return {
        "architecture": network.architecture,
        "image_size": network.image_size,
        "input_size": network.input_size,
        "measured_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine.described(),
        "machine_was_busy": was_busy,
    }


def _network(row: Measurement) -> Network:
    return Network(row.architecture, row.image_size, row.input_size)


def _input_sizes(architecture: str, image_size: int) -> Sequence[int]:
    if architecture in RESIZING:
        return INPUT_SIZES[architecture]
    return (input_size_of(architecture, None, image_size),) if image_size < IMAGE_SIZES[-1] else ()


def _start_seconds() -> float:
    """Seconds until a trial's process trains, for the imports of Keras and TensorFlow."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import tensorflow, keras"], check=True, capture_output=True)
    return time.perf_counter() - began


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ARCHITECTURES, default=list(ARCHITECTURES), metavar="NAME")
    parser.add_argument("--image-sizes", nargs="+", type=int, choices=IMAGE_SIZES, default=IMAGE_SIZES, dest="sizes")
    parser.add_argument("--images", type=int, default=224, help="how many images an epoch has")
    parser.add_argument("--costs", type=Path, default=COSTS, help="where to write the measurements")
    return parser.parse_args()


if __name__ == "__main__":
    main()
