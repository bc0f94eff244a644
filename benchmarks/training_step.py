"""What a training step takes with Keras' batch normalisation and with ours, written to docs/training.md.

    python -m benchmarks.training_step [--rounds 5] [--report docs/training.md]

Both train the same networks by turns, with random weights and random images, so that whatever else the machine does
falls on both alike; the ratio is the median over the rounds. The augmentation of the recipe is part of a step and
stands beside it. Takes about five minutes on two cores.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import keras
import numpy as np

from benchmarks import markdown
from models_store.contract.recipes import RECIPES
from models_store.contract.specs import ExperimentSpec
from models_store.datasets.labels import CLASS_NAMES
from models_store.experiment.phases import screening
from workers.pipeline import machine
from workers.pipeline.backend import configure
from workers.pipeline.networks.batch_normalization import BatchNormalization
from workers.pipeline.networks.building import build_model
from workers.pipeline.training.augmentation import augmentation
from workers.pipeline.training.fitting import trainer_of

RECIPE = RECIPES["modern"]
SEED = 42
STEPS = 4


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
class Step:
    """Milliseconds of a step in each round, with Keras' layer and with ours, and of its augmentation alone."""

    keras: tuple[float, ...]
    ours: tuple[float, ...]
    augmentation: float

    @property
    def ratio(self) -> float:
        return statistics.median(theirs / ours for theirs, ours in zip(self.keras, self.ours, strict=True))


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training_step", description="Time training steps.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", type=Path, default=Path("docs/training.md"))
    options = parser.parse_args(arguments)
    configure("tensorflow", SEED)
    measured = {case: measure(case, options.rounds) for case in CASES}
    options.report.write_text(page(measured, options.rounds), encoding="utf-8")
    return 0


def measure(case: Case, rounds: int) -> Step:
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
    shape = (trial.batch_size, case.image_size, case.image_size, 3)
    images = np.random.default_rng(SEED).integers(0, 256, shape, dtype=np.uint8)
    labels = np.eye(len(CLASS_NAMES), dtype=np.float32)[np.arange(trial.batch_size) % len(CLASS_NAMES)]

    def step() -> Callable[[], object]:
        network = build_model(trial, case.image_size, base_weights=None, seed=SEED)
        trainer = trainer_of(network, trial.learning_rate, RECIPE)
        trainer.train_on_batch(images, labels)  # TensorFlow traces the network now
        return lambda: trainer.train_on_batch(images, labels)

    with keras_own_normalisation():
        theirs = step()
    ours = step()
    rounds_of_both = [(_milliseconds(theirs), _milliseconds(ours)) for _ in range(rounds)]
    theirs_took, ours_took = zip(*rounds_of_both, strict=True)
    augment = keras.Sequential([keras.Input(shape[1:]), *augmentation(RECIPE.augmentation)])
    scaled = keras.ops.convert_to_tensor(images / 255, "float32")
    augmented = [_milliseconds(lambda: augment(scaled, training=True)) for _ in range(rounds)]
    return Step(theirs_took, ours_took, statistics.median(augmented))


@contextmanager
def keras_own_normalisation() -> Iterator[None]:
    """Networks that are traced within use Keras' own layer."""
    with patch.object(BatchNormalization, "call", keras.layers.BatchNormalization.call):
        yield


def _milliseconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    for _ in range(STEPS):
        step()
    return (time.perf_counter() - began) / STEPS * 1000


def page(measured: dict[Case, Step], rounds: int) -> str:
    rows = [
        (
            case,
            *(f"{statistics.median(each):.0f}" for each in (step.keras, step.ours)),
            f"{step.ratio:.2f}",
            f"{step.augmentation:.1f} ({step.augmentation / statistics.median(step.ours):.0%})",
        )
        for case, step in measured.items()
    ]
    head = ("Network", "Keras' normalisation, ms", "ours, ms", "times as fast", "augmentation, ms (share of a step)")
    parts = (
        "# Training speed",
        f"Written by `python -m benchmarks.training_step` on {datetime.now(UTC):%Y-%m-%d}; {machine.described()}, "
        f"TensorFlow, seed {SEED}, random images, medians of {rounds} rounds by turns.",
        "Keras 3 composes batch normalisation of elementary operations, each of which passes over all activations. "
        "The networks of this project train by TensorFlow's own kernel instead, which computes the same. A step takes "
        "one batch through the recipe `modern`, augmentation included.",
        markdown.table(head, rows),
    )
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
