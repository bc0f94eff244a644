"""Measuring costs: what is asked is measured, what is known is kept, and a busy machine leaves its mark."""

from pathlib import Path

import pytest

from benchmarks import epoch_costs
from benchmarks.epoch_costs import Network, all_networks, is_missing, measure, replaced
from models_store.contract.catalog import ARCHITECTURES
from models_store.contract.recipes import RECIPES, RecipeName
from service.experiments.costs import AnswerCost, Costs, EpochCost
from tests.some_costs import an_epoch_cost, some_costs
from workers.pipeline import machine

CNN = Network("CNN_v1", 28, 28)


class Measured:
    """Stands in for the measuring itself, and counts it."""

    def __init__(self, *, busy: bool = False) -> None:
        self.busy = busy
        self.epochs: list[tuple[str, int, int, str]] = []
        self.answers: list[str] = []

    def epoch(self, network: Network, recipe: RecipeName, _: object) -> EpochCost:
        self.epochs.append((network.architecture, network.image_size, network.input_size, recipe))
        return EpochCost(
            **epoch_costs._provenance(network, self.busy), recipe=recipe, images=8, seconds_an_image=len(self.epochs)
        )

    def answer(self, network: Network) -> AnswerCost:
        self.answers.append(network.architecture)
        return AnswerCost(**epoch_costs._provenance(network, self.busy), runs=31, milliseconds=1.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "costs.json"
    path.write_text(some_costs({"CNN_v1": 0.5, "VGG_v1": 0.7}).model_dump_json())
    return path


def run(monkeypatch: pytest.MonkeyPatch, path: Path, networks: list[Network], *, busy: bool = False) -> Measured:
    measured = Measured(busy=busy)
    monkeypatch.setattr(epoch_costs, "_epoch", measured.epoch)
    monkeypatch.setattr(epoch_costs, "_answer", measured.answer)
    measure(networks, path.parent, 64, path)
    return measured


def written(path: Path) -> Costs:
    return Costs.model_validate_json(path.read_text())


def test_every_network_is_measured_and_those_that_resize_at_several_input_sizes() -> None:
    networks = all_networks()
    assert {each.architecture for each in networks} == set(ARCHITECTURES)
    assert {(each.image_size, each.input_size) for each in networks if each.architecture == "EffLite_v1"} == {
        (image_size, input_size) for image_size in (28, 64, 128) for input_size in (56, 84, 112)
    }
    assert [each.input_size for each in networks if each.architecture == "ResNet_v1"] == [56, 128]


def test_only_what_is_asked_is_measured_and_the_rest_stays(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    measured = run(monkeypatch, path, [CNN])
    assert measured.epochs == [("CNN_v1", 28, 28, recipe) for recipe in RECIPES]
    assert measured.answers == ["CNN_v1"]
    kept = {(row.architecture, row.recipe): row.seconds_an_image for row in written(path).epochs}
    assert kept == {("CNN_v1", "classic"): 1, ("CNN_v1", "modern"): 2, ("VGG_v1", "classic"): 0.7}


def test_rows_of_networks_that_are_measured_no_more_are_dropped(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    before = written(path)
    gone = before.epochs[0].model_copy(update={"input_size": 999})
    path.write_text(before.model_copy(update={"epochs": (*before.epochs, gone)}).model_dump_json())
    run(monkeypatch, path, [])
    assert written(path).epochs == before.epochs


def test_a_further_run_measures_nothing_again(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    run(monkeypatch, path, [CNN])
    again = run(monkeypatch, path, [CNN])
    assert (again.epochs, again.answers) == ([], [])


def test_what_a_busy_machine_measured_is_marked_and_measured_again(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    run(monkeypatch, path, [CNN], busy=True)
    assert written(path).remeasure == "3 of 4 were measured on a busy machine; on an idle one, run " + (
        "python -m benchmarks.epoch_costs"
    )
    again = run(monkeypatch, path, [CNN])
    assert len(again.epochs) == 2
    assert written(path).remeasure == ""


def test_interrupted_run_keeps_what_it_has_measured(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    def interrupted(_: Network) -> AnswerCost:
        raise KeyboardInterrupt

    monkeypatch.setattr(epoch_costs, "_epoch", Measured().epoch)
    monkeypatch.setattr(epoch_costs, "_answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure([CNN], path.parent, 64, path)
    assert {row.recipe for row in written(path).epochs if row.machine == machine.described()} == set(RECIPES)


def test_another_machine_measures_again() -> None:
    elsewhere, here = (an_epoch_cost("CNN_v1", 1.0, machine=name) for name in ("elsewhere", machine.described()))
    assert is_missing([elsewhere], CNN)
    assert not is_missing([elsewhere, here], CNN)


def test_rows_stay_in_the_order_of_the_catalogue() -> None:
    rows = [an_epoch_cost(name, 1.0) for name in ("CNN_v1", "VGG_v1")]
    names = [row.architecture for row in replaced(rows, an_epoch_cost("CNN_v2", 1.0), recipe="classic")]
    assert names == ["CNN_v1", "CNN_v2", "VGG_v1"]


def test_processor_time_of_others_makes_a_measurement_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epoch_costs, "_own_seconds", lambda: 0.0)
    for share, busy in ((0.0, False), (5.0, True)):
        clock = iter((0.0, share))
        monkeypatch.setattr(epoch_costs, "_busy_seconds", lambda clock=clock: next(clock))
        assert epoch_costs._watched(lambda: "done") == ("done", busy)


@pytest.mark.slow
def test_real_network_is_trained_exported_and_timed(path: Path) -> None:
    measure([Network("ConvNet_v1", 28, 28)], path.parent, 64, path)
    rows = [row for row in written(path).epochs if row.architecture == "ConvNet_v1"]
    assert {row.recipe for row in rows} == set(RECIPES)
    assert all(0 < row.seconds_an_image < 1 for row in rows)
    (answer,) = written(path).answers
    assert 0 < answer.milliseconds < 1000
