"""Measured costs made up in one line, in place of those that are shipped."""

from collections.abc import Mapping

from models_store.contract.catalog import input_size_of
from service.experiments.costs import AnswerCost, Costs, EpochCost, Measurement

MACHINE = "a test, 2 CPUs"


def some_costs(epochs: Mapping[str, float], answers: Mapping[str, float] | None = None) -> Costs:
    """Seconds per image and milliseconds per answer of each network, at 28 pixels with the recipe `classic`."""
    return Costs(
        written_by="a test",
        remeasure="",
        start_seconds=6.0,
        epochs=tuple(an_epoch_cost(name, cost) for name, cost in epochs.items()),
        answers=tuple(
            AnswerCost(**_measured(name), runs=31, milliseconds=cost) for name, cost in (answers or {}).items()
        ),
    )


def an_epoch_cost(architecture: str, seconds_an_image: float, **changes: object) -> EpochCost:
    made_up = {"recipe": "classic", "images": 224, "seconds_an_image": seconds_an_image}
    return EpochCost.model_validate(_measured(architecture) | made_up | changes)


def _measured(architecture: str) -> dict[str, object]:
    return Measurement(
        architecture=architecture,
        image_size=28,
        input_size=input_size_of(architecture, None, 28),
        measured_on="2026-01-05",
        machine=MACHINE,
        machine_was_busy=False,
    ).model_dump()
