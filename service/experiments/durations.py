"""From the seconds that an epoch of each network takes to the seconds of an experiment and the cost of an answer."""

from collections.abc import Sequence

from models_store.contract.specs import HELD_OUT_SHARE, ExperimentSpec
from models_store.experiment.phases import MAX_CANDIDATES

# Phase 3 always runs on this queue, even if the experiment has another one.
FINAL_QUEUE = "cpu"
# Export through TensorFlow, calibration and report take about this long for the first network and for each further one.
FINAL_SECONDS, FURTHER_NETWORK_SECONDS = 60.0, 15.0
# A training step runs a network forward once, and backward for about twice as long.
FORWARD_SHARE = 1 / 3
# The selection split, on which an ensemble scores every candidate, as a share of train.
SELECTION_SHARE = HELD_OUT_SHARE["train"]


def experiment_seconds(
    spec: ExperimentSpec, trainings: Sequence[float], final_epochs: Sequence[float], start_seconds: float, slots: int
) -> tuple[float, float]:
    """If the fastest networks win, and if the slowest win. Every trial trains all its epochs, `slots` at a time.

    `trainings` are the seconds that all epochs of each trial of Phase 1 take, `final_epochs` those of one epoch on the
    CPU that exports and tests. A trial's process takes `start_seconds` before it trains.
    """
    first = _makespan([start_seconds + training for training in trainings], slots)
    shortest, longest = (
        first + _makespan([start_seconds + winner(trainings)] * len(spec.strategies), slots) + final
        for winner, final in zip((min, max), final_seconds_between(spec, final_epochs), strict=True)
    )
    return shortest, longest


def final_seconds_between(spec: ExperimentSpec, epochs: Sequence[float]) -> tuple[float, float]:
    """Phase 3 if the fastest networks win, and if the slowest win; `epochs` are those of Phase 1 on its CPU."""
    shortest, longest = (final_seconds(spec, trained) for trained in _finalists(spec, epochs))
    return shortest, longest


def final_seconds(spec: ExperimentSpec, epochs: Sequence[float]) -> float:
    """Phase 3, from the seconds that an epoch of each trained network takes, members of the final model first.

    Each member scores about as many images as an epoch trains (calibration, export check, out-of-distribution score,
    test), and each candidate of an ensemble the selection split: all of them in every view.
    """
    members = epochs[: spec.final.ensemble]
    candidates = epochs[: MAX_CANDIDATES + 1] if spec.final.ensemble > 1 else ()
    scored = sum(members) + SELECTION_SHARE * sum(candidates)
    further = FURTHER_NETWORK_SECONDS * (len(members) - 1)
    return FINAL_SECONDS + further + spec.final.views * FORWARD_SHARE * scored


def network_runs(spec: ExperimentSpec, networks: int) -> int:
    """How many network runs one prediction takes if the ensemble finds all its members among the trials."""
    return spec.final.views * min(spec.final.ensemble, networks + len(spec.strategies))


def answer_milliseconds(spec: ExperimentSpec, single: Sequence[float]) -> tuple[float, float]:
    """If the fastest networks win, and if the slowest win; `single` holds each network of Phase 1 in one view."""
    fastest, slowest = (spec.final.views * sum(trained[: spec.final.ensemble]) for trained in _finalists(spec, single))
    return fastest, slowest


def _finalists(spec: ExperimentSpec, costs: Sequence[float]) -> tuple[list[float], list[float]]:
    """The costs of all trained networks, once with the cheapest first and once with the most expensive.

    A network of Phase 2 costs what the winner of Phase 1 costs.
    """
    tuned = len(spec.strategies)
    return sorted([*costs, *[min(costs)] * tuned]), sorted([*costs, *[max(costs)] * tuned], reverse=True)


def _makespan(trials: Sequence[float], slots: int) -> float:
    """Seconds until all trials end if each takes the slot that is free first; with no slots, one runs at a time."""
    free = [0.0] * max(1, slots)
    for seconds in trials:
        free[free.index(min(free))] += seconds
    return max(free)
