"""Submitting with options, listing and showing experiments."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.tables import Experiment, Trial
from tests.service.recorded import fail_trial, succeed_experiment

Dermatriage = Callable[..., Any]
pytestmark = pytest.mark.usefixtures("server")
SUBMIT = ("submit", "--preset", "demo", "--dataset", "synthetic", "--json")


def test_options_override_the_preset(dermatriage: Dermatriage) -> None:
    spec = dermatriage(
        *SUBMIT,
        *("--name", "monday", "--architecture", "CNN_v1", "--architecture", "CNN_v2", "--class-weight", "W5"),
        *("--strategy", "LowLR", "--epochs", "7", "--patience", "3", "--seed", "0", "--priority", "0"),
        *("--queue", "gpu", "--promote", "never", "--weights", "none", "--set", "calibration.target_recall=0.95"),
        *("--set", "selection.policy=val_f2"),
    ).json["spec"]

    expected = {
        "name": "monday",
        "architectures": ["CNN_v1", "CNN_v2"],
        "class_weights": ["W5"],
        "strategies": ["LowLR"],
        "epochs": 7,
        "patience": 3,
        "seed": 0,
        "priority": 0,
        "queue": "gpu",
        "promote": "never",
        "weights": "none",
    }
    assert {field: spec[field] for field in expected} == expected
    assert spec["calibration"]["target_recall"] == 0.95
    assert spec["selection"]["policy"] == "val_f2"


def test_data_set_and_architecture_are_enough(dermatriage: Dermatriage) -> None:
    spec = dermatriage("submit", "--dataset", "synthetic", "--architecture", "CNN_v1", "--json").json["spec"]
    expected = ExperimentSpec.model_validate({"dataset": "synthetic", "architectures": ["CNN_v1"]})
    assert spec == expected.model_dump(mode="json")


def test_ids_may_be_cut_short_or_be_the_latest(dermatriage: Dermatriage) -> None:
    first, second = (dermatriage(*SUBMIT).json["id"] for _ in range(2))

    assert dermatriage("show", "latest", "--json").json["experiment"]["id"] == second
    for typed in (first[:-3], first.removeprefix("exp_")[:28]):
        assert dermatriage("show", typed, "--json").json["experiment"]["id"] == first
    several, unknown = dermatriage("cancel", "exp_"), dermatriage("cancel", "exp_none")
    assert (several.exit_code, unknown.exit_code) == (2, 2)
    assert f"more than one experiment begins with exp_: {second}, {first}" in several.err
    assert "exp_none" in unknown.err


def test_versions_may_be_cut_short_or_be_the_latest(
    dermatriage: Dermatriage, make_model: Callable[..., str], tmp_path: Path
) -> None:
    first, second = make_model(threshold=0.25), make_model(threshold=0.5)

    assert "threshold 0.5" in dermatriage("card", "latest").out
    assert dermatriage("promote", first[:-3], "--reason", "a try", "--json").json["version"] == first
    dermatriage("bundle", second.removeprefix("mdl_")[:28])
    assert (tmp_path / f"{second}.zip").exists()


def test_latest_of_nothing_is_exit_code_2(dermatriage: Dermatriage) -> None:
    ended = dermatriage("show", "latest")
    assert (ended.exit_code, "there is no experiment yet" in ended.err) == (2, True)


def test_options_override_the_file(dermatriage: Dermatriage, tmp_path: Path) -> None:
    (tmp_path / "spec.json").write_text(json.dumps({"dataset": "dermamnist", "epochs": 3}))

    spec = dermatriage("submit", "spec.json", "--dataset", "synthetic", "--json").json["spec"]

    assert (spec["dataset"], spec["epochs"]) == ("synthetic", 3)


def test_every_finding_of_the_server_is_a_line_with_its_field(dermatriage: Dermatriage) -> None:
    ended = dermatriage(*SUBMIT, "--epochs", "0", "--priority", "11", "--set", "selection.min_specificity=2")

    assert ended.exit_code == 2
    for field in ("  /epochs: ", "  /priority: ", "  /selection/min_specificity: "):
        assert field in ended.err


@pytest.mark.parametrize("assignment", ["epochs", "=3", "a..b=1", "name.x=1"])
def test_assignment_that_names_no_field_is_exit_code_2(dermatriage: Dermatriage, assignment: str) -> None:
    ended = dermatriage(*SUBMIT, "--set", assignment)

    assert ended.exit_code == 2
    assert f"--set {assignment}" in ended.err


def test_same_idempotency_key_submits_once(dermatriage: Dermatriage) -> None:
    first, again = (dermatriage(*SUBMIT, "--idempotency-key", "monday").json for _ in range(2))

    assert first["id"] == again["id"]


@pytest.mark.parametrize("verb", ["experiments", "studies"])
def test_experiments_are_listed_newest_first_and_by_status(dermatriage: Dermatriage, verb: str) -> None:
    made = [dermatriage(*SUBMIT, "--name", f"experiment {number}").json["id"] for number in range(3)]
    dermatriage("cancel", made[0])

    assert [each["id"] for each in dermatriage(verb, "--json").json] == made[::-1]
    assert [each["id"] for each in dermatriage(verb, "--limit", "1", "--json").json] == made[2:]
    assert [each["id"] for each in dermatriage(verb, "--status", "cancelled", "--json").json] == made[:1]
    table = dermatriage(verb).out
    assert all(each in table for each in (*made, "experiment 2", "cancelled", "queued"))


def test_unknown_status_is_exit_code_2_with_the_known_ones(dermatriage: Dermatriage) -> None:
    ended = dermatriage("experiments", "--status", "done")

    assert ended.exit_code == 2
    assert "succeeded" in ended.err


def test_one_experiment_shows_recall_first_its_guarantee_and_why_a_trial_collapsed(
    dermatriage: Dermatriage, database: Database
) -> None:
    submitted = dermatriage(*SUBMIT, "--name", "[red]first").json
    fail_trial(database, submitted["id"])
    succeed_experiment(database, submitted["id"])

    shown = dermatriage("show", submitted["id"]).out

    figures = shown.split("Test set", 1)[1].splitlines()
    assert figures[1].startswith("  70 of 200 test images show a lesion that training saw")
    assert figures[2].split() == ["RECALL", "0.910", "[0.850,", "0.950]"]
    assert "[red]first" in shown
    assert "With 95 % confidence" in shown
    assert "Validly calibrated; recall on the test set is 0.910, above the target of 0.90" in shown
    assert "mdl_1" in shown
    assert "  Promoted: beats mdl_1b2c3d4e5f60718293a4b5c6d7e8f901 by target_recall" in shown
    [trial] = [line for line in shown.splitlines() if line.startswith("CNN_v1/W3")]
    assert "collapsed" in trial
    assert "no epoch was eligible" in trial


def test_trials_are_ranked_by_the_figure_of_the_selection_with_the_reason(
    dermatriage: Dermatriage, database: Database
) -> None:
    submitted = dermatriage(*SUBMIT, "--architecture", "CNN_v1", "--architecture", "CNN_v2").json
    common = {"val_recall": 0.9, "val_specificity": 0.6, "val_auc": 0.8, "val_f2": 0.7}
    with database.write() as session:
        for trial, specificity in zip(session.scalars(select(Trial).order_by(Trial.position)), (0.5, 0.7), strict=True):
            trial.status, trial.metrics = "succeeded", common | {"val_specificity_at_recall": specificity}

    shown = dermatriage("show", submitted["id"]).out

    assert "Trials, ranked by specificity at recall 0.90" in shown
    rows = [line.split() for line in shown.splitlines() if line.startswith("CNN_")]
    assert [row[:3] for row in rows[:2]] == [["CNN_v2/W3", "1", "succeeded"], ["CNN_v1/W3", "2", "succeeded"]]
    assert "CNN_v2/W3 is first of 2: it has the highest specificity at recall 0.90, 0.700 against 0.500" in shown


def test_one_experiment_as_json_holds_the_experiment_and_its_trials(
    dermatriage: Dermatriage, database: Database
) -> None:
    submitted = dermatriage(*SUBMIT).json
    fail_trial(database, submitted["id"])

    shown = dermatriage("show", submitted["id"], "--json").json

    assert shown["experiment"]["id"] == submitted["id"]
    assert [trial["status"] for trial in shown["trials"]] == ["collapsed"]


def test_events_are_lines_of_json_to_the_end(dermatriage: Dermatriage) -> None:
    submitted = dermatriage(*SUBMIT).json
    dermatriage("cancel", submitted["id"])

    ended = dermatriage("watch", submitted["id"], "--events")

    events = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.exit_code == 1
    assert [event["number"] for event in events] == list(range(1, len(events) + 1))
    assert (events[-1]["kind"], events[-1]["status"]) == ("experiment", "cancelled")


def test_report_is_written_to_the_given_file(dermatriage: Dermatriage, tmp_path: Path) -> None:
    submitted = dermatriage(*SUBMIT).json

    ended = dermatriage("report", submitted["id"], "--output", "experiment.html")

    assert ended.exit_code == 0
    assert (tmp_path / "experiment.html").read_text().startswith("<!doctype html>")


def test_command_line_shows_who_submitted(dermatriage: Dermatriage, database: Database) -> None:
    submitted = dermatriage(*SUBMIT).json["id"]
    assert " by " not in dermatriage("show", "latest").out.split("Trials")[0]
    with database.write() as session:
        session.get_one(Experiment, submitted).submitted_by = "ann"
    shown = dermatriage("show", "latest").out.splitlines()[2]
    assert shown.startswith("  submitted ")
    assert shown.endswith(" by ann")
    for command in ("status", "experiments"):
        assert [
            line
            for line in dermatriage(command).out.splitlines()
            if line.startswith(submitted) and line.endswith("ann")
        ]
