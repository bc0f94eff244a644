"""The arithmetic of an estimate, from seconds per epoch to a whole experiment."""

from typing import Any

import pytest

from models_store.contract.specs import ExperimentSpec
from service.experiments.durations import (
    FINAL_SECONDS,
    FURTHER_NETWORK_SECONDS,
    answer_milliseconds,
    experiment_seconds,
    final_seconds,
    network_runs,
)


def a_spec(views: int = 1, ensemble: int = 1, **changes: Any) -> ExperimentSpec:
    fields = {"dataset": "synthetic", "strategies": (), "epochs": 10, "final": {"views": views, "ensemble": ensemble}}
    return ExperimentSpec.model_validate(fields | changes)


@pytest.mark.parametrize(("slots", "one_after_another"), [(0, 6), (1, 6), (2, 3), (4, 2), (9, 1)])
def test_trials_share_the_slots_of_the_workers(slots: int, one_after_another: int) -> None:
    shortest, longest = experiment_seconds(a_spec(), [300.0] * 6, [30.0] * 6, 5.0, slots)
    assert shortest == longest == pytest.approx(one_after_another * (5 + 10 * 30) + 60 + 30 / 3)


def test_every_strategy_costs_what_the_winner_costs() -> None:
    spec = a_spec(strategies=("HighDropout", "LowLR"))
    shortest, longest = experiment_seconds(spec, [300.0, 900.0], [30.0, 90.0], 0.0, 1)
    assert shortest == pytest.approx(10 * (30 + 90) + 2 * 10 * 30 + 60 + 30 / 3)
    assert longest == pytest.approx(10 * (30 + 90) + 2 * 10 * 90 + 60 + 90 / 3)


def test_export_and_test_cost_what_they_cost_on_a_cpu_wherever_the_epochs_ran() -> None:
    shortest, _ = experiment_seconds(a_spec(), [10.0], [300.0], 0.0, 1)
    assert shortest == pytest.approx(10 * 1 + 60 + 300 / 3)


def test_final_model_scores_an_epoch_of_images_with_each_member_in_each_view() -> None:
    assert final_seconds(a_spec(), [30.0, 60.0]) == pytest.approx(FINAL_SECONDS + 30 / 3)
    assert final_seconds(a_spec(views=8), [30.0, 60.0]) == pytest.approx(FINAL_SECONDS + 8 * 30 / 3)


def test_ensemble_exports_each_member_and_scores_every_candidate_on_the_selection_split() -> None:
    seconds = final_seconds(a_spec(views=8, ensemble=2), [30.0, 60.0, 90.0])
    assert seconds == pytest.approx(
        FINAL_SECONDS + FURTHER_NETWORK_SECONDS + 8 / 3 * ((30 + 60) + 0.1 * (30 + 60 + 90))
    )


def test_ensemble_considers_the_winner_and_twelve_others() -> None:
    assert final_seconds(a_spec(ensemble=2), [30.0] * 13) == final_seconds(a_spec(ensemble=2), [30.0] * 40)
    assert final_seconds(a_spec(ensemble=2), [30.0] * 12) < final_seconds(a_spec(ensemble=2), [30.0] * 13)


@pytest.mark.parametrize(
    ("views", "ensemble", "trials", "strategies", "runs"),
    [
        (1, 1, 5, (), 1),
        (8, 1, 5, (), 8),
        (8, 3, 5, (), 24),
        (8, 8, 3, (), 24),
        (8, 8, 3, ("LowLR",), 32),
    ],
)
def test_answer_runs_each_member_once_for_each_view(
    views: int, ensemble: int, trials: int, strategies: tuple[str, ...], runs: int
) -> None:
    assert network_runs(a_spec(views, ensemble, strategies=strategies), trials) == runs


def test_milliseconds_of_an_answer_are_those_of_its_members_times_the_views() -> None:
    single = [0.5, 2.0, 4.0]
    assert answer_milliseconds(a_spec(), single) == (0.5, 4.0)
    assert answer_milliseconds(a_spec(views=8, ensemble=2), single) == (8 * 2.5, 8 * 6.0)
    assert answer_milliseconds(a_spec(views=8, ensemble=2, strategies=("LowLR",)), single) == (8 * 1.0, 8 * 8.0)
