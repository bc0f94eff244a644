"""Files and rows that are removed after their time, and those that never are."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from models_store.database import Database, now
from models_store.experiment import phases
from models_store.retention.pruning import Pruned, prune
from models_store.retention.usage import disk_use
from models_store.settings import Settings
from models_store.store.folders import prediction_image
from models_store.store.storage import Storage
from models_store.tables import Event, Experiment, Model, PredictionRow, Trial, TrialLog
from tests.finished_experiment import FinalRecord, a_final_record, a_spec, store_experiment, store_finished, store_trial

NOTHING = dict.fromkeys(("checkpoints", "checkpoint_bytes", "logs", "events", "predictions"), 0)
CONTENT = b"weights"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store"))


@pytest.fixture(scope="session")
def record() -> FinalRecord:
    return a_final_record(images=200)


@pytest.fixture
def finished(database: Database, storage: Storage, tmp_path: Path, record: FinalRecord) -> str:
    """A finished experiment; all of its trained trials have a checkpoint."""
    with database.write() as session:
        experiment_id = store_finished(session, storage, tmp_path / "bundle", a_spec(), record)
        experiment = session.get_one(Experiment, experiment_id)
        experiment.finished_at = now(session)
        _give_checkpoints(session, storage, tmp_path, experiment_id)
        return experiment_id


def _give_checkpoints(session: Any, storage: Storage, folder: Path, experiment_id: str) -> None:
    (folder / "best.keras").write_bytes(CONTENT)
    for trial in session.scalars(select(Trial).where(Trial.experiment_id == experiment_id, Trial.kind == "train")):
        trial.checkpoint_key, trial.checkpoint_sha256 = f"trials/{trial.id}/1/best.keras", "0" * 64
        storage.put_file(folder / "best.keras", trial.checkpoint_key)


def keeping(**days: float | None) -> Settings:
    return Settings(_env_file=None, **{f"keep_{kind}_days": value for kind, value in days.items()})


def with_checkpoint(database: Database, storage: Storage) -> set[str]:
    """Names of the trials whose checkpoint is on record; those and no others are in the store."""
    with database.read() as session:
        trials = session.scalars(select(Trial).where(Trial.checkpoint_key.is_not(None))).all()
        assert set(storage.keys("trials")) == {trial.checkpoint_key for trial in trials}
        return {trial.name for trial in trials}


def set_members(database: Database, experiment_id: str, *members: str) -> str:
    with database.write() as session:
        experiment = session.get_one(Experiment, experiment_id)
        assert experiment.result is not None
        experiment.result = experiment.result | {"members": list(members)}
        return str(experiment.result["winner"])


@pytest.mark.both_databases
def test_checkpoints_of_losers_go_and_those_of_the_final_networks_stay(
    database: Database, storage: Storage, finished: str
) -> None:
    with database.read() as session:
        loser = session.scalars(select(Trial).where(Trial.experiment_id == finished, Trial.phase == 1)).first()
        assert loser is not None
    winner = set_members(database, finished, loser.name)
    before = with_checkpoint(database, storage)
    assert {winner, loser.name} < before

    counted = prune(database, storage, keeping(), dry_run=True)
    assert with_checkpoint(database, storage) == before
    removed = len(before - {winner, loser.name})
    assert asdict(counted) == NOTHING | {"checkpoints": removed, "checkpoint_bytes": removed * len(CONTENT)}

    assert prune(database, storage, keeping()) == counted
    assert with_checkpoint(database, storage) == {winner, loser.name}
    assert prune(database, storage, keeping()) == Pruned(**NOTHING)


def test_checkpoints_stay_for_as_long_as_the_setting_says(database: Database, storage: Storage, finished: str) -> None:
    set_members(database, finished, "a")
    assert prune(database, storage, keeping(checkpoints=1)) == Pruned(**NOTHING)
    with database.write() as session:
        experiment = session.get_one(Experiment, finished)
        experiment.finished_at = now(session) - timedelta(days=1, minutes=1)
    assert prune(database, storage, keeping(checkpoints=1)).checkpoints > 0


def test_checkpoint_that_the_store_could_not_remove_goes_next_time(
    database: Database, storage: Storage, finished: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    winner = set_members(database, finished)
    stored = set(storage.keys("trials"))
    with monkeypatch.context() as patch:
        patch.setattr(storage, "delete", lambda key: (Path("/no folder") / key).unlink())
        with pytest.raises(FileNotFoundError):
            prune(database, storage, keeping())
    assert set(storage.keys("trials")) == stored
    assert prune(database, storage, keeping()).checkpoints == len(stored) - 1
    assert with_checkpoint(database, storage) == {winner}


@pytest.mark.parametrize(("status", "removed"), [("running", False), ("failed", False), ("cancelled", True)])
def test_files_of_an_unfinished_or_failed_experiment_stay(
    database: Database, storage: Storage, tmp_path: Path, status: str, removed: bool
) -> None:
    spec = a_spec()
    with database.write() as session:
        experiment = store_experiment(session, spec, status, 1)
        experiment.finished_at = None if status == "running" else now(session)
        for position, (name, trial) in enumerate(phases.screening(spec).items()):
            store_trial(session, experiment, 1, position, name, trial, "succeeded")
        _give_checkpoints(session, storage, tmp_path, experiment.id)
    before = with_checkpoint(database, storage)
    prune(database, storage, keeping())
    assert with_checkpoint(database, storage) == (set() if removed else before)


def test_old_logs_and_events_go_with_their_setting_alone(database: Database, storage: Storage, finished: str) -> None:
    with database.write() as session:
        experiment = session.get_one(Experiment, finished)
        experiment.finished_at = now(session) - timedelta(days=8)
        trial = session.scalars(select(Trial).where(Trial.experiment_id == finished)).first()
        assert trial is not None
        session.add(TrialLog(trial_id=trial.id, attempt=1, text="x", is_whole=True, written_at=now(session)))
        for number in (101, 102):
            session.add(Event(experiment_id=finished, number=number, kind="phase", data={}, created_at=now(session)))

    def rows() -> tuple[int, int]:
        with database.read() as session:
            logs, events = (session.scalar(select(func.count()).select_from(table)) for table in (TrialLog, Event))
            return logs or 0, events or 0

    logs, events = rows()
    prune(database, storage, keeping())
    prune(database, storage, keeping(logs=9, events=9))
    assert rows() == (logs, events)
    pruned = prune(database, storage, keeping(logs=7, events=7))
    assert (pruned.logs, pruned.events) == (logs, events)
    assert rows() == (0, 0)


class BusyStorage(Storage):
    """Others write to the database whenever a file is removed, which would wait for a transaction that writes."""

    def __init__(self, url: str, database: Database) -> None:
        super().__init__(url)
        self._database = database

    def delete(self, key: str) -> None:
        with self._database.write() as session:
            now(session)
        super().delete(key)


def test_no_transaction_that_writes_is_open_while_files_are_removed(
    database: Database, storage: Storage, tmp_path: Path, finished: str
) -> None:
    winner, trained = set_members(database, finished), storage.keys("trials")
    _store_predictions(database, storage, tmp_path, ages_days=(1, 21))
    pruned = prune(database, BusyStorage(storage.url, database), keeping(predictions=20))
    assert (pruned.checkpoints, pruned.predictions) == (len(trained) - 1, 1)
    assert with_checkpoint(database, storage) == {winner}


@pytest.mark.usefixtures("finished")
def test_old_predictions_go_with_their_images(
    database: Database, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models_store.retention.pruning.PORTION", 2)
    _store_predictions(database, storage, tmp_path, ages_days=(1, 19, 21, 22, 23))
    assert prune(database, storage, keeping(predictions=20), dry_run=True).predictions == 3
    assert prune(database, storage, keeping(predictions=20)).predictions == 3
    with database.read() as session:
        assert set(session.scalars(select(PredictionRow.id))) == {"prd_0", "prd_1"}
    assert {key.rpartition("/")[2] for key in storage.keys("predictions")} == {"prd_0", "prd_1"}
    assert prune(database, storage, keeping(predictions=None)) == Pruned(**NOTHING)


def _store_predictions(database: Database, storage: Storage, tmp_path: Path, ages_days: Sequence[int]) -> None:
    (tmp_path / "image").write_bytes(b"pixels")
    with database.write() as session:
        version = session.scalars(select(Model.version)).one()
        for number, age_days in enumerate(ages_days):
            moment = now(session) - timedelta(days=age_days)
            row = PredictionRow(
                id=f"prd_{number}",
                created_at=moment,
                model_version=version,
                dataset="d",
                threshold=0.5,
                probability=0.1,
                label="benign",
                image_sha256="0" * 64,
                image_stored=True,
                warnings=[],
            )
            session.add(row)
            storage.put_file(tmp_path / "image", prediction_image(row.id, moment))


@pytest.mark.both_databases
def test_disk_use_is_counted_by_kind(database: Database, storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1000))
    for key in ("trials/trl_1/1/best.keras", "trials/trl_2/1/best.keras", "resume/trl_1/a.tar"):
        storage.put_file(tmp_path / "file", key)
    used = disk_use(database, storage)
    assert {kind: size for kind, size in used.items() if kind != "database"} == {
        "models": 0,
        "checkpoints": 2000,
        "resume_points": 1000,
        "datasets": 0,
        "prediction_images": 0,
    }
    assert used["database"] > 10_000
