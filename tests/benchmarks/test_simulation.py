"""The simulated cluster agrees with arithmetic where arithmetic is enough."""

from dataclasses import replace

import pytest

from benchmarks.simulation import Costs, Load, Overloaded, most_workers, simulate, steady_database, steady_store

FREE = Costs(claim=0.0, epoch=0.0, status_check=0.0, record=0.0, open=0.0, at_once=1.0)
COSTS = Costs(claim=0.01, epoch=0.005, status_check=0.001, record=0.01, open=0.01, at_once=2.0)
LOAD = Load(experiments=3, phases=(4, 2, 1), workers=1, startup_seconds=1.0, epochs=3, epoch_seconds=3.0)


def test_one_slot_takes_as_long_as_all_trials_together() -> None:
    outcome = simulate(LOAD, FREE)
    assert outcome.seconds == pytest.approx(3 * 7 * 10)
    assert outcome.efficiency == pytest.approx(1)


def test_phases_of_one_experiment_wait_for_each_other() -> None:
    outcome = simulate(replace(LOAD, experiments=1, workers=4), FREE)
    assert outcome.seconds == pytest.approx(30)
    assert outcome.efficiency == pytest.approx(70 / 120)


def test_transactions_add_to_each_trial() -> None:
    load = replace(LOAD, phases=(5,), status_check_every_seconds=1e9, epoch_seconds=1e9, epochs=0)
    assert simulate(load, COSTS).seconds == pytest.approx(15 * (1 + 0.01 + 0.01))


@pytest.mark.parametrize("workers", [1, 2, 5, 30])
def test_more_slots_are_never_slower_and_never_faster_than_their_number(workers: int) -> None:
    load = replace(LOAD, experiments=20)
    alone, shared = simulate(load, COSTS), simulate(replace(load, workers=workers), COSTS)
    assert alone.seconds / workers * 0.999 <= shared.seconds <= alone.seconds
    assert 0 < shared.efficiency <= 1


def test_checkpoints_queue_up_for_the_store() -> None:
    load = Load(1, (10,), 10, 1.0, 0, 1.0, checkpoint_bytes=1e9, store_bytes_a_second=1e9)
    assert simulate(load, FREE).seconds == pytest.approx(1 + 10)


def test_steady_load_grows_with_the_slots_until_something_is_full() -> None:
    load = replace(LOAD, workers=10, resume_bytes=3e8, resume_every_seconds=300)
    assert steady_database(load, COSTS) == pytest.approx(10 * (0.005 / 3 + 0.001 / 2) / 2)
    assert steady_store(load) == pytest.approx(10 * 1e6 / 1e9)
    slots, first = most_workers(load, COSTS)
    assert (slots, first) == (923, "database")
    with pytest.raises(Overloaded, match="database"):
        simulate(replace(load, workers=slots + 1), COSTS)
