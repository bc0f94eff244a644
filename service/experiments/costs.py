"""What training and answering cost, as `python -m benchmarks.epoch_costs` measured it.

A cost between two measured sizes is interpolated linearly in pixels: first in the pixels that a network sees, then in
those of the data set's images. Beyond the sizes that were measured it grows in proportion to the pixels that the
network sees, and stays that of the nearest image size.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from models_store.contract.recipes import RecipeName

COSTS = Path(__file__).parent / "costs.json"


class Measurement(BaseModel):
    """Of one network on images of `image_size` pixels a side, resized to `input_size` for the network."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    architecture: str
    image_size: int
    input_size: int
    measured_on: str
    machine: str
    machine_was_busy: bool


class EpochCost(Measurement):
    """Seconds that a training image takes in an epoch, its part of validation included."""

    recipe: RecipeName
    images: int
    seconds_an_image: float


class AnswerCost(Measurement):
    """Milliseconds that the exported network takes for one image in one view."""

    runs: int
    milliseconds: float


class Costs(BaseModel):
    """`costs.json`. `start_seconds` is what a trial's process takes before it trains."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    written_by: str
    remeasure: str
    start_seconds: float
    epochs: tuple[EpochCost, ...]
    answers: tuple[AnswerCost, ...]


Row = TypeVar("Row", bound=Measurement)


@cache
def costs() -> Costs:
    return Costs.model_validate_json(COSTS.read_text())


def measurements_of(architecture: str, rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.architecture == architecture]


def with_recipe(recipe: RecipeName, rows: Sequence[EpochCost]) -> list[EpochCost]:
    """Those made with `recipe`, or all if there are none."""
    return [row for row in rows if row.recipe == recipe] or list(rows)


def nearest(rows: Sequence[Row], image_size: int, input_size: int) -> list[Row]:
    """The measurements between which the cost at these sizes lies."""
    by_image_size: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        by_image_size[row.image_size].append(row)
    return [
        row
        for size in _neighbours(by_image_size, image_size)
        for row in by_image_size[size]
        if row.input_size in _neighbours([each.input_size for each in by_image_size[size]], input_size)
    ]


def interpolated(measured: Mapping[tuple[int, int], float], image_size: int, input_size: int) -> float:
    """The cost at these sizes from costs by (image size, input size)."""
    by_image_size = {
        size: _at_input_size({given: cost for (image, given), cost in measured.items() if image == size}, input_size)
        for size in {image for image, _ in measured}
    }
    return _linear(by_image_size, image_size)


def _neighbours(sizes: Collection[int], size: int) -> set[int]:
    """The size itself, or the next smaller and the next larger one, as far as there are any."""
    return {*sorted(each for each in sizes if each <= size)[-1:], *sorted(each for each in sizes if each >= size)[:1]}


def _at_input_size(by_input_size: Mapping[int, float], size: int) -> float:
    clamped = min(max(size, min(by_input_size)), max(by_input_size))
    return _linear(by_input_size, clamped) * (size / clamped) ** 2


def _linear(by_size: Mapping[int, float], size: int) -> float:
    """Linear in pixels; beyond the ends, the cost of the nearest size."""
    sizes = sorted(by_size)
    return float(np.interp(size**2, [known**2 for known in sizes], [by_size[known] for known in sizes]))
