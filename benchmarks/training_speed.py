"""What an epoch takes as Keras trains and as this project does, written to docs/training.md.

    python -m benchmarks.training_speed [--images 1792] [--rounds 3] [--report docs/training.md]

The same networks are trained by turns in three ways, with random weights and random images, so that whatever else the
machine does falls on all alike: by Keras alone, with our pipeline, and with our pipeline and batch normalisation. Takes
about twenty minutes on two cores, and six with `--images 448 --rounds 2`. Expected: half the time; what the pipeline
saves of it depends on how long an epoch takes.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks import markdown
from models_store.contract.recipes import RECIPES
from models_store.contract.specs import ExperimentSpec, TrialSpec
from models_store.datasets.labels import CLASS_NAMES
from models_store.experiment.phases import screening
from workers.pipeline import machine
from workers.pipeline.backend import batches, configure
from workers.pipeline.networks.batch_normalization import BatchNormalization
from workers.pipeline.networks.building import build_model
from workers.pipeline.training.augmentation import augmentation
from workers.pipeline.training.fitting import trainer_of

RECIPE = RECIPES["modern"]
SEED = 42


@dataclass(frozen=True)
class Case:
    """A network on square images; `input_size` None is the network's own."""

    architecture: str
    image_size: int
    input_size: int | None = None

    def __str__(self) -> str:
        resized = f", input size {self.input_size}" if self.input_size else ""
        return f"{self.architecture}, {self.image_size} pixels{resized}"


CASES = (
    Case("CNN_v1", 28),
    Case("ConvNet_v1", 28),
    Case("ConvNet_v1", 64),
    Case("EffLite_v1", 28, 56),
    Case("EffLite_v1", 28, 112),
    Case("EffLite_v1", 64, 112),
)


@dataclass(frozen=True)
class Epochs:
    """Seconds of an epoch in each round, in three ways, and of its augmentation alone."""

    by_keras: tuple[float, ...]
    with_our_pipeline: tuple[float, ...]
    as_we_train: tuple[float, ...]
    augmentation: float

    @property
    def ratio(self) -> float:
        return statistics.median(theirs / ours for theirs, ours in zip(self.by_keras, self.as_we_train, strict=True))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_speed", description="Time epochs.")
    parser.add_argument("--images", type=int, default=1792)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--report", type=Path, default=Path("docs/training.md"))
    options = parser.parse_args(arguments)
    configure("tensorflow", SEED)
    measured = {case: measure(case, options.images, options.rounds) for case in CASES}
    options.report.write_text(page(measured, options.images, options.rounds), encoding="utf-8")
    return 0


def measure(case: Case, number: int, rounds: int) -> Epochs:
    trial = _trial(case)
    shape = (number, case.image_size, case.image_size, 3)
    images = np.random.default_rng(SEED).integers(0, 256, shape, dtype=np.uint8)
    targets = np.eye(len(CLASS_NAMES), dtype=np.float32)[np.arange(number) % len(CLASS_NAMES)]
    arrays = {"x": images, "y": targets, "batch_size": trial.batch_size}
    with keras_own_normalisation():
        by_keras = _epoch(trial, case, lambda: arrays)
        with_our_pipeline = _epoch(trial, case, lambda: batches(images, trial.batch_size, targets))
    as_we_train = _epoch(trial, case, lambda: batches(images, trial.batch_size, targets))
    took = [[_seconds(epoch) for epoch in (by_keras, with_our_pipeline, as_we_train)] for _ in range(rounds)]
    theirs, mixed, ours = (tuple(way) for way in zip(*took, strict=True))
    return Epochs(theirs, mixed, ours, _augmentation(images, trial.batch_size))


def _trial(case: Case) -> TrialSpec:
    spec = ExperimentSpec(
        dataset="synthetic",
        architectures=(case.architecture,),
        class_weights=("W0",),
        recipe=RECIPE.name,
        weights="none",
        input_sizes=() if case.input_size is None else (case.input_size,),
        seed=SEED,
    )
    [trial] = screening(spec).values()
    return trial


def _epoch(trial: TrialSpec, case: Case, fed: Callable[[], Mapping[str, object]]) -> Callable[[], object]:
    """An epoch of a new network, which TensorFlow has traced already."""
    network = build_model(trial, case.image_size, base_weights=None, seed=SEED)
    trainer = trainer_of(network, trial.learning_rate, RECIPE)

    def epoch() -> object:
        return trainer.fit(**fed(), shuffle=False, verbose=0)

    epoch()
    return epoch


@contextmanager
def keras_own_normalisation() -> Iterator[None]:
    """Networks that are traced within use Keras' own layer."""
    with patch.object(BatchNormalization, "call", keras.layers.BatchNormalization.call):
        yield


def _augmentation(images: NDArray[np.uint8], batch_size: int) -> float:
    """Seconds for all images, a batch at a time and each operation by itself, which is slower than inside the graph."""
    layers = keras.Sequential([keras.Input(images.shape[1:]), *augmentation(RECIPE.augmentation)])
    batch = keras.ops.convert_to_tensor(images[:batch_size] / 255, "float32")
    once = statistics.median(_seconds(lambda: layers(batch, training=True)) for _ in range(9))
    return once * len(images) / batch_size


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def page(measured: Mapping[Case, Epochs], images: int, rounds: int) -> str:
    rows = [
        (
            case,
            *(f"{statistics.median(each):.1f}" for each in (took.by_keras, took.with_our_pipeline, took.as_we_train)),
            f"{took.ratio:.2f}",
            f"{took.augmentation:.2f} ({took.augmentation / statistics.median(took.as_we_train):.0%})",
        )
        for case, took in measured.items()
    ]
    head = ("Network", "by Keras", "our pipeline", "and our normalisation", "times as fast", "augmentation (share)")
    parts = (
        "# Training speed",
        f"Written by `python -m benchmarks.training_speed` on {datetime.now(UTC):%Y-%m-%d}; {machine.described()}, "
        f"TensorFlow, seed {SEED}. Seconds of an epoch of {images:,} random images by the recipe `modern`, medians of "
        f"{rounds} rounds by turns.",
        "Keras feeds TensorFlow through a pipeline that tunes itself after 10, 20, 40 ms and so on, and whose end may "
        "wait for the next tuning, as long again as the epoch took. Ours does not tune itself. Keras also composes "
        "batch normalisation of elementary operations, each of which passes over all activations; our layer trains by "
        "TensorFlow's own kernel, which computes the same. Augmentation is timed one operation at a time, which is "
        "slower than inside a training step.",
        markdown.table(head, rows),
    )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
