"""The folders that a worker removes when it starts."""

import time
from threading import Thread

import pytest
from sqlalchemy.exc import OperationalError

from tests.workers.conftest import ScriptedWorker
from workers.worker.cleaning import clean_until_stopped, remove_abandoned_folders
from workers.worker.context import Worker


def test_a_starting_worker_removes_the_folders_of_ended_and_unknown_trials_alone(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit()
    ended, waiting = (trial.id for trial in scripted.trials(experiment_id).values())
    scripted.run_all()
    other = scripted.submit()
    waiting = next(iter(scripted.trials(other).values())).id
    root = scripted.worker.settings.work_root
    for name in (ended, waiting, "trl_unknown"):
        (root / name / "1").mkdir(parents=True)
    remove_abandoned_folders(scripted.worker)
    assert [path.name for path in root.glob("trl_*")] == [waiting]


def test_a_worker_starts_where_there_is_no_folder_yet(scripted: ScriptedWorker) -> None:
    elsewhere = scripted.with_settings(work_root=scripted.worker.settings.work_root / "none")
    remove_abandoned_folders(elsewhere.worker)


def test_a_folder_whose_trial_ends_elsewhere_goes_while_the_worker_runs(scripted: ScriptedWorker) -> None:
    trial_id = next(iter(scripted.trials(scripted.submit()).values())).id
    here = scripted.with_settings(work_root=scripted.worker.settings.work_root / "here")
    abandoned = here.worker.settings.work_root / trial_id / "1"
    abandoned.mkdir(parents=True)
    cleaning = Thread(target=clean_until_stopped, args=(here.worker, 0.01))
    cleaning.start()
    try:
        assert abandoned.exists()
        scripted.run_all()
        deadline = time.monotonic() + 10
        while abandoned.parent.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        here.worker.stopping.set()
        cleaning.join()


def test_cleaning_goes_on_when_the_database_was_away(scripted: ScriptedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []

    def fail(worker: Worker) -> None:
        looks.append(worker)
        if len(looks) == 3:
            worker.stopping.set()
        raise OperationalError("SELECT", {}, Exception("away"))

    monkeypatch.setattr("workers.worker.cleaning.remove_abandoned_folders", fail)
    clean_until_stopped(scripted.with_settings().worker, 0.0)
    assert len(looks) == 3
