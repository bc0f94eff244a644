"""Experiments side by side, on a page and in the API: what differs, and how much of it is the seed."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.store.storage import Storage
from models_store.tables import Model
from tests.finished_experiment import a_final_record, a_spec, store_experiment, store_finished


@pytest.fixture
def runs(database: Database, storage: Storage, tmp_path: Path) -> list[str]:
    """Two experiments with different seeds, tested with recall 0.9 and 0.8, and one with other settings, untested."""
    record, made = a_final_record(images=200), []
    for seed, recall in ((1, 0.9), (2, 0.8)):
        with database.write() as session:
            spec = a_spec(name=f"run {seed}", seed=seed, priority=seed)
            made.append(store_finished(session, storage, tmp_path / f"bundle{seed}", spec, record))
            model = session.get_one(Model, f"mdl_{made[-1]}")
            model.metrics = {**model.metrics, "recall": recall}
    with database.write() as session:
        other = a_spec(name="other", class_weights=["W5"], calibration={"target_recall": 0.95})
        made.append(store_experiment(session, other, "running", 1).id)
    return made


def test_settings_that_differ_trials_and_results_are_compared(client: TestClient, runs: list[str]) -> None:
    compared = client.get("/v1/experiments/compare", params={"id": runs}).json()

    assert [each["id"] for each in compared["experiments"]] == runs
    assert [each["seed"] for each in compared["experiments"]] == [1, 2, 42]
    assert [(each["test"] or {}).get("recall") for each in compared["experiments"]] == [0.9, 0.8, None]
    assert {each["field"]: each["values"] for each in compared["settings"]} == {
        "seed": [1, 2, 42],
        "priority": [1, 2, 5],
        "class_weights": [["W3"], ["W3"], ["W5"]],
        "calibration.target_recall": [0.9, 0.9, 0.95],
    }
    trial = next(each for each in compared["trials"] if each["name"] == "CNN_v1/W3")
    assert trial["results"][0]["status"] == "succeeded"
    assert 0 <= trial["results"][0]["val_recall"] <= 1
    assert trial["results"][2] is None


def test_runs_that_differ_in_the_seed_alone_are_a_group_with_mean_and_spread(
    client: TestClient, runs: list[str]
) -> None:
    [group] = client.get("/v1/experiments/compare", params={"id": runs}).json()["groups"]

    assert (group["experiments"], group["seeds"]) == (runs[:2], [1, 2])
    recall = group["figures"]["recall"]
    assert recall == pytest.approx(
        {"runs": 2, "mean": 0.85, "standard_deviation": 0.0707, "lowest": 0.8, "highest": 0.9}, abs=1e-4
    )


def test_page_shows_the_comparison_and_the_list_leads_to_it(client: TestClient, runs: list[str]) -> None:
    assert f'form="compare" name="id" value="{runs[0]}"' in client.get("/").text
    page = client.get("/experiments/compare", params={"id": runs}).text
    assert "<code>calibration.target_recall</code>" in page
    assert "Seeds 1, 2" in page
    assert "<td>0.850</td><td>0.071</td><td>0.800 to 0.900</td>" in page


@pytest.mark.parametrize(("ids", "status"), [(["exp_a"], 422), (["exp_a", "exp_b"], 404), (["x"] * 21, 422)])
def test_what_cannot_be_compared_is_refused(client: TestClient, ids: list[str], status: int) -> None:
    for address in ("/v1/experiments/compare", "/experiments/compare"):
        assert client.get(address, params={"id": ids}).status_code == status


def test_models_and_their_comparison_name_experiment_and_seed(client: TestClient, runs: list[str]) -> None:
    models = client.get("/v1/models").json()["items"]
    assert {(model["experiment_name"], model["seed"]) for model in models} == {("run 1", 1), ("run 2", 2)}
    page = client.get("/models/compare", params={"a": f"mdl_{runs[0]}", "b": f"mdl_{runs[1]}"}).text
    assert ">run 1</a>, seed 1<" in page
    assert '<small class="version">seed 2</small>' in client.get("/models").text
