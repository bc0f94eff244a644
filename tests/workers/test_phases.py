"""The next phase of an experiment follows from its rows alone, however often it is computed."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update

from models_store import runs
from models_store.database import WAKE_UPS
from models_store.tables import Experiment, Trial
from tests.workers.conftest import ScriptedWorker


def end_trials(scripted: ScriptedWorker, experiment_id: str, status: str = "succeeded", **columns: Any) -> None:
    recalls = {"metrics": {"val_recall": 0.8, "val_auc": 0.8, "val_specificity": 0.7}}
    checkpoint = {"checkpoint_key": "trials/x/1/best.keras", "checkpoint_sha256": "0" * 64}
    with scripted.database.write() as session:
        session.execute(
            update(Trial)
            .where(Trial.experiment_id == experiment_id, Trial.status == "queued")
            .values({"status": status} | (recalls | checkpoint if status == "succeeded" else {}) | columns)
        )


def advance(scripted: ScriptedWorker, experiment_id: str) -> dict[str, int]:
    """Queued trials that workers are woken for, by queue."""
    with scripted.database.write() as session:
        runs.advance(session, experiment_id)
        return dict(session.info.get(WAKE_UPS, {}))


def test_screening_has_one_trial_for_each_architecture_and_class_weight(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit(class_weights=["W0", "W5"])
    names = ["CNN_v1/W0", "CNN_v1/W5", "CNN_v2/W0", "CNN_v2/W5"]
    assert scripted.statuses(experiment_id) == dict.fromkeys(names, "queued")


def test_nothing_is_opened_while_a_trial_is_under_way(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit()
    assert advance(scripted, experiment_id) == {}
    assert len(scripted.trials(experiment_id)) == 2


def test_phase_opens_once_for_simultaneous_callers(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit()
    end_trials(scripted, experiment_id)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: advance(scripted, experiment_id), range(16)))
    assert [answer for answer in answers if answer] == [{"cpu": 2}]
    assert len(scripted.trials(experiment_id)) == 4


def test_fine_tuning_starts_from_the_checkpoint_of_the_screening_winner(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit()
    end_trials(scripted, experiment_id)
    advance(scripted, experiment_id)
    winner = scripted.trials(experiment_id)["CNN_v1/W3"]
    start = scripted.trials(experiment_id)["CNN_v1/LowLR"].spec["starts_from"]
    assert start == {"trial_id": winner.id, "key": "trials/x/1/best.keras", "sha256": "0" * 64}


def test_screening_winner_competes_in_fine_tuning(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit()
    end_trials(scripted, experiment_id)
    advance(scripted, experiment_id)
    end_trials(scripted, experiment_id, metrics={"val_recall": 0.7, "val_auc": 0.9, "val_specificity": 0.9})
    advance(scripted, experiment_id)
    assert scripted.trials(experiment_id)["final"].spec["winner"] == "CNN_v1/W3"


def test_final_trial_asks_for_no_gpu(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit(queue="gpu", strategies=[])
    assert {trial.queue for trial in scripted.trials(experiment_id).values()} == {"gpu"}
    end_trials(scripted, experiment_id)
    assert advance(scripted, experiment_id) == {"cpu": 1}


@pytest.mark.parametrize("status", ["failed", "collapsed"])
def test_experiment_without_a_remaining_trial_fails_with_the_reasons(scripted: ScriptedWorker, status: str) -> None:
    experiment_id = scripted.submit()
    end_trials(scripted, experiment_id, status, error={"kind": status, "message": "the reason"})
    assert advance(scripted, experiment_id) == {}
    ended = scripted.experiment(experiment_id)
    reasons = f"CNN_v1/W3 {status}: the reason; CNN_v2/W3 {status}: the reason"
    assert (ended.status, ended.error) == ("failed", {"kind": status, "phase": 1, "message": reasons})


def test_failed_final_trial_fails_the_experiment(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit(strategies=[])
    end_trials(scripted, experiment_id)
    advance(scripted, experiment_id)
    end_trials(scripted, experiment_id, "failed", error={"kind": "TooFewMalignantImages", "message": "28 of 29"})
    advance(scripted, experiment_id)
    error = scripted.experiment(experiment_id).error
    assert error is not None
    assert (error["kind"], error["phase"]) == ("TooFewMalignantImages", 3)


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelling", "cancelled"])
def test_experiment_that_is_over_is_left_alone(scripted: ScriptedWorker, status: str) -> None:
    experiment_id = scripted.submit()
    end_trials(scripted, experiment_id)
    with scripted.database.write() as session:
        session.execute(update(Experiment).values(status=status))
    assert advance(scripted, experiment_id) == {}
    assert len(scripted.trials(experiment_id)) == 2
