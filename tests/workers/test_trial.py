"""The real process of a trial: killed at an epoch, it continues exactly, on the same machine or another."""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sqlalchemy import select

from models_store import runs
from models_store.database import Database, now
from models_store.datasets.registration import register
from models_store.datasets.synthetic import generate
from models_store.settings import Settings
from models_store.tables import DatasetRow, EpochRow, Trial
from tests.end_to_end.stack import eventually
from tests.workers.conftest import ScriptedWorker
from workers.worker import work

SMALL = (320, 160, 80)
EXPERIMENT: dict[str, Any] = {
    "dataset": "small",
    "architectures": ["CNN_v1"],
    "strategies": [],
    "epochs": 3,
    "selection": {"policy": "val_recall_unguarded"},
    "calibration": {"policy": "youden"},
}


@pytest.fixture
def database_url(tmp_path: Path, migrated_sqlite: Path) -> str:
    """On one database, because this tests the process; other tests cover both databases."""
    copy = tmp_path / "test.db"
    shutil.copyfile(migrated_sqlite, copy)
    return f"sqlite:///{copy}"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    real = settings.model_copy(
        update={
            "trial_module": "workers.trial",
            "cache_root": tmp_path / "cache",
            "resume_upload_seconds": 0.0,
            "lease_seconds": 60.0,
        }
    )
    for name in ("database_url", "store_url", "work_root", "cache_root", "resume_upload_seconds"):
        monkeypatch.setenv(f"DERMATRIAGE_{name.upper()}", str(getattr(real, name)))
    return real


@pytest.fixture
def small(scripted: ScriptedWorker, tmp_path: Path) -> None:
    generate(tmp_path / "small.npz", counts=SMALL)
    taken = register(tmp_path / "small.npz", "small", storage=scripted.worker.storage)
    with scripted.database.write() as session:
        session.add(DatasetRow(**vars(taken), created_at=now(session)))


def kill_after_first_epoch(scripted: ScriptedWorker, experiment_id: str, name: str) -> float:
    """Kills the running trial's whole process group with SIGKILL; returns how long its first epoch took.

    The store holds its resume point by then, so that a worker on another machine can continue.
    """
    running = Thread(target=work.run_next_trial, args=(scripted.worker, "cpu"), daemon=True)
    running.start()
    trial_id = scripted.trials(experiment_id)[name].id
    eventually(lambda: scripted.trials(experiment_id)[name].resume_epochs, 120, "the first resume point")
    os.killpg(process_of(trial_id), signal.SIGKILL)
    running.join(30)
    assert scripted.trials(experiment_id)[name].status == "queued"
    return seconds_of_first_epoch(scripted.database, trial_id)


def seconds_of_first_epoch(database: Database, trial_id: str) -> float:
    with database.read() as session:
        return session.get_one(EpochRow, (trial_id, 1)).seconds


def process_of(trial_id: str) -> int:
    (pid,) = (
        int(entry.name)
        for entry in Path("/proc").glob("[0-9]*")
        if trial_id.encode() in (entry / "cmdline").read_bytes()
    )
    return pid


def recorded_epochs(database: Database, trial: Trial) -> list[tuple[int, dict[str, Any], bool]]:
    chosen = select(EpochRow).where(EpochRow.trial_id == trial.id).order_by(EpochRow.number)
    with database.read() as session:
        return [(epoch.number, epoch.metrics, epoch.best) for epoch in session.scalars(chosen)]


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_trial_killed_at_an_epoch_continues_exactly_on_either_machine(
    scripted: ScriptedWorker,
) -> None:
    # Given an experiment that ran through
    whole = scripted.submit(**EXPERIMENT)
    scripted.run_all()
    finished = scripted.experiment(whole)
    assert finished.status == "succeeded", finished.error
    expected = recorded_epochs(scripted.database, scripted.trials(whole)["CNN_v1/W3"])
    assert [number for number, _, _ in expected] == [1, 2, 3]

    # When the same trial is killed after an epoch, and another worker continues it
    elsewhere = scripted.with_settings(work_root=scripted.worker.settings.work_root / "elsewhere")
    places: dict[str, Callable[[], object]] = {"here": scripted.run_all, "elsewhere": elsewhere.run_all}
    for place, go_on in places.items():
        killed = scripted.submit(**EXPERIMENT | {"name": place})
        seconds = kill_after_first_epoch(scripted, killed, "CNN_v1/W3")
        go_on()

        # Then its metrics are the same, and so is the experiment's result
        trial = scripted.trials(killed)["CNN_v1/W3"]
        assert (trial.status, trial.attempts) == ("succeeded", 2)
        assert recorded_epochs(scripted.database, trial) == expected
        assert seconds_of_first_epoch(scripted.database, trial.id) == seconds  # it was not trained again
        first, *_, latest = scripted.models()
        assert latest.experiment_id == killed
        assert latest.metrics == first.metrics
        assert scripted.worker.storage.keys("resume") == []


@pytest.mark.usefixtures("small")
def test_real_trial_is_cancelled_within_ten_seconds(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit(**EXPERIMENT | {"epochs": 500, "patience": 500})
    running = Thread(target=work.run_next_trial, args=(scripted.worker, "cpu"), daemon=True)
    running.start()
    trial_id = scripted.trials(experiment_id)["CNN_v1/W3"].id
    eventually(lambda: scripted.trials(experiment_id)["CNN_v1/W3"].epochs_done, 120, "the first epoch")
    process = process_of(trial_id)

    with scripted.database.write() as session:
        runs.cancel(session, experiment_id)
    eventually(lambda: scripted.experiment(experiment_id).status == "cancelled", 10, "the cancellation")

    assert not Path(f"/proc/{process}").exists()
    running.join(10)
