"""Estimates from recorded epochs and from the table, through the function and through the API."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from dermatriage_client.schemas import Estimate
from models_store.contract.catalog import ARCHITECTURES, PRESETS
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.datasets.describe import class_counts
from models_store.tables import DatasetRow, EpochRow, Experiment, Trial
from service.experiments.costs import Costs
from service.experiments.estimate import estimate
from tests.finished_experiment import a_spec, store_experiment
from tests.some_costs import MACHINE, an_epoch_cost, some_costs

IMAGES = 7007
SPEC = {"dataset": "synthetic", "architectures": ["CNN_v1"], "strategies": [], "epochs": 10}


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Costs:
    """Two milliseconds per image, for EffLite_v1 eight; no measurement of EffNet_v3, answers of two networks."""
    known = {name: 0.002 for name in ARCHITECTURES if name != "EffNet_v3"} | {"EffLite_v1": 0.008}
    return replace(monkeypatch, some_costs(known, {"CNN_v1": 0.3, "EffLite_v1": 3.0}))


def replace(monkeypatch: pytest.MonkeyPatch, table: Costs) -> Costs:
    monkeypatch.setattr("service.experiments.estimate.costs", lambda: table)
    return table


def estimated(database: Database, slots: int = 1, **changes: Any) -> Estimate:
    with database.read() as session:
        return estimate(session, ExperimentSpec.model_validate(SPEC | changes), slots)


def record_epochs(session: Session, seconds: Sequence[float], queue: str = "cpu", **spec: Any) -> None:
    experiment = store_experiment(session, a_spec(dataset="synthetic"), "failed", 1)
    trial = Trial(
        experiment_id=experiment.id,
        phase=1,
        position=0,
        name="CNN_v1/W3",
        kind="train",
        queue=queue,
        spec={"architecture": "CNN_v1"} | spec,
        created_at=datetime.now(UTC),
        epochs_done=len(seconds),
    )
    session.add(trial)
    session.flush()
    for number, taken in enumerate(seconds, start=1):
        flags = {"metrics": {}, "eligible": True, "best": False, "created_at": datetime.now(UTC)}
        session.add(EpochRow(trial_id=trial.id, number=number, seconds=taken, **flags))


@pytest.mark.usefixtures("table")
def test_twelve_networks_share_the_slots(database: Database) -> None:
    networks = {"architectures": [name for name in ARCHITECTURES if name not in ("EffNet_v3", "EffLite_v1")][:12]}
    one, four = (estimated(database, slots, **networks) for slots in (1, 4))
    assert len(one.from_table) == 12
    final = 60 + IMAGES * 0.002 / 3
    assert one.longest_seconds == pytest.approx(12 * (6 + 10 * IMAGES * 0.002) + final)
    assert four.longest_seconds == pytest.approx(3 * (6 + 10 * IMAGES * 0.002) + final)


@pytest.mark.usefixtures("table")
def test_every_repeat_is_a_trial(database: Database) -> None:
    once, thrice = (estimated(database, repeats=repeats) for repeats in (1, 3))
    assert (once.trials, thrice.trials) == (2, 4)
    assert thrice.longest_seconds - once.longest_seconds == pytest.approx(2 * (6 + 10 * IMAGES * 0.002))


@pytest.mark.usefixtures("table")
def test_every_input_size_is_a_trial_that_costs_its_pixels(database: Database) -> None:
    found = estimated(database, architectures=["EffLite_v1"], input_sizes=[56, 112])
    small, large = (IMAGES * 0.008 * times for times in (1, 4))
    assert found.from_table == ["EffLite_v1/112px", "EffLite_v1/56px"]
    assert found.shortest_seconds == pytest.approx(12 + 10 * (small + large) + 60 + small / 3)
    assert found.longest_seconds == pytest.approx(12 + 10 * (small + large) + 60 + large / 3)


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(("architecture", "times"), [("CNN_v1", (128 / 28) ** 2), ("EffLite_v1", (128 / 56) ** 2)])
def test_larger_images_cost_the_pixels_that_the_network_sees_of_them(
    database: Database, architecture: str, times: float
) -> None:
    small = estimated(database, architectures=[architecture], dataset="dermamnist")
    large = estimated(database, architectures=[architecture], dataset="dermamnist_128")
    assert large.longest_seconds - 66 == pytest.approx(times * (small.longest_seconds - 66))


def test_registered_data_set_counts_with_its_own_images(database: Database, table: Costs) -> None:
    with database.write() as session:
        described = {
            "synthetic": False,
            "created_at": datetime.now(UTC),
            "counts": {"train": class_counts([5] * 90 + [4] * 10)},
        }
        session.add(DatasetRow(name="clinic", sha256="0" * 64, store_key="d.npz", image_size=64, **described))
    found = estimated(database, dataset="clinic")
    epoch = 100 * 0.002 * (64 / 28) ** 2
    assert found.longest_seconds == pytest.approx(table.start_seconds + 10 * epoch + 60 + epoch / 3)


def test_each_recipe_has_its_own_epochs(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = (an_epoch_cost("CNN_v1", 0.002), an_epoch_cost("CNN_v1", 0.005, recipe="modern"))
    replace(monkeypatch, some_costs({}).model_copy(update={"epochs": measured}))
    classic, modern = (estimated(database, recipe=recipe) for recipe in ("classic", "modern"))
    assert modern.longest_seconds - 66 == pytest.approx(2.5 * (classic.longest_seconds - 66))
    assert classic.notes == modern.notes == []


def test_estimate_names_uncertain_measurements(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = (an_epoch_cost("CNN_v1", 0.002), an_epoch_cost("ConvNet_v1", 0.002, machine_was_busy=True))
    replace(monkeypatch, some_costs({}).model_copy(update={"epochs": measured}))
    found = estimated(database, architectures=["CNN_v1", "ConvNet_v1"], recipe="modern")
    assert found.notes == [
        "Measured while other programs kept the machine busy: ConvNet_v1.",
        "Measured with another recipe than modern: CNN_v1, ConvNet_v1.",
    ]


@pytest.mark.usefixtures("table")
def test_views_and_ensemble_cost_time_at_the_end_and_in_every_answer(database: Database) -> None:
    plain, final = estimated(database, repeats=2), estimated(database, repeats=2, final={"views": 8, "ensemble": 2})
    epoch = IMAGES * 0.002
    assert final.longest_seconds - plain.longest_seconds == pytest.approx(15 + (8 * 2.2 - 1) * epoch / 3)
    assert (plain.answer.network_runs, final.answer.network_runs) == (1, 16)
    assert plain.answer.longest_milliseconds == pytest.approx(0.3)
    assert final.answer.longest_milliseconds == pytest.approx(16 * 0.3)
    assert final.answer.machines == [MACHINE]


@pytest.mark.usefixtures("table")
def test_cost_of_an_unmeasured_network_is_only_its_number_of_runs(database: Database) -> None:
    found = estimated(database, architectures=["CNN_v1", "VGG_v1"], final={"views": 8, "ensemble": 2})
    assert found.answer.network_runs == 16
    assert (found.answer.shortest_milliseconds, found.answer.longest_milliseconds) == (None, None)


@pytest.mark.usefixtures("table")
def test_network_without_any_measurement_leaves_no_duration(database: Database) -> None:
    found = estimated(database, architectures=["CNN_v1", "EffNet_v3"])
    assert found.unknown == ["EffNet_v3"]
    assert (found.shortest_seconds, found.longest_seconds) == (None, None)


@pytest.mark.both_databases
@pytest.mark.usefixtures("table")
def test_recorded_epochs_of_the_same_network_and_data_take_precedence_over_the_table(database: Database) -> None:
    with database.write() as session:
        record_epochs(session, (100.0, 300.0))
    found, elsewhere = estimated(database), estimated(database, dataset="dermamnist")
    assert (found.from_records, found.from_table) == (["CNN_v1"], [])
    assert found.shortest_seconds == found.longest_seconds == pytest.approx(10 * 200 + 6 + 60 + 200 / 3)
    assert elsewhere.from_table == ["CNN_v1"]


@pytest.mark.usefixtures("table")
def test_phase_3_of_an_experiment_on_gpus_has_the_cpu_cost_of_the_table(database: Database) -> None:
    with database.write() as session:
        record_epochs(session, (3.0,), queue="gpu")
    found = estimated(database, queue="gpu")
    assert (found.from_records, found.from_table) == (["CNN_v1"], [])
    assert found.longest_seconds == pytest.approx(10 * 3 + 6 + 60 + IMAGES * 0.002 / 3)


def test_next_experiment_starts_when_the_estimate_of_the_one_before_is_over(
    client: TestClient, database: Database, table: Costs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.experiments.waiting.costs", lambda: table)
    monkeypatch.setattr("service.experiments.waiting.slots", lambda _heard, _queue: 1)
    with database.write() as session:
        record_epochs(session, (100.0, 300.0))
    spec = SPEC | {"strategies": ["LowLR"]}
    first = client.post("/v1/experiments/estimate", json=spec).json()
    client.post("/v1/experiments", json=spec)
    second = client.post("/v1/experiments/estimate", json=spec).json()
    assert second["starts_in_seconds"] == pytest.approx(first["longest_seconds"])


@pytest.mark.both_databases
@pytest.mark.usefixtures("table")
def test_recorded_epochs_of_another_recipe_or_input_size_are_not_taken(database: Database) -> None:
    with database.write() as session:
        record_epochs(session, (100.0,), recipe="modern", input_size=None)
        record_epochs(session, (200.0,), architecture="EffLite_v1", recipe="classic", input_size=112)
    assert estimated(database).from_records == []
    assert estimated(database, recipe="modern").from_records == ["CNN_v1"]
    sizes = estimated(database, architectures=["EffLite_v1"], input_sizes=[56, 112])
    assert (sizes.from_records, sizes.from_table) == (["EffLite_v1/112px"], ["EffLite_v1/56px"])


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_an_estimate_from_the_shipped_table(client: TestClient, preset: str) -> None:
    answer = client.post("/v1/experiments/estimate", json={"dataset": "dermamnist", **PRESETS[preset]})
    assert answer.status_code == 200, answer.text
    found = Estimate.model_validate(answer.json())
    assert found.unknown == []
    assert found.longest_seconds >= found.shortest_seconds > 60
    assert found.answer.network_runs >= 1


def test_estimate_submits_nothing(client: TestClient, database: Database) -> None:
    client.post("/v1/experiments/estimate", json=SPEC)
    with database.read() as session:
        assert session.query(Experiment).count() == 0


def test_estimate_for_an_unknown_data_set_names_the_remedy(client: TestClient) -> None:
    answer = client.post("/v1/experiments/estimate", json=SPEC | {"dataset": "nowhere"})
    assert answer.status_code == 422
    assert "dermatriage dataset register" in answer.text
