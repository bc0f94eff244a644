"""Deleted experiments and models: what is removed, what stays on record, and what is refused."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from models_store import runs
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.retention import deleted
from models_store.runs import ExperimentNotFound, ExperimentUnfinished
from models_store.store import registry
from models_store.store.registry import ModelIsChampion, ModelNotFound, NothingToRollBackTo
from models_store.store.storage import Storage
from models_store.tables import EpochRow, Event, Experiment, Model, TestOpening, Trial
from tests.finished_experiment import FinalRecord, a_final_record, a_spec, store_finished

pytestmark = pytest.mark.both_databases


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(str(tmp_path / "store"))


@pytest.fixture(scope="session")
def record() -> FinalRecord:
    return a_final_record(images=200)


def finished(database: Database, storage: Storage, folder: Path, record: FinalRecord) -> str:
    """A finished experiment with a checkpoint of each trial in the store."""
    with database.write() as session:
        experiment_id = store_finished(session, storage, folder, a_spec(), record)
        trials = list(session.scalars(select(Trial.id).where(Trial.experiment_id == experiment_id)))
    content = folder / "best.keras"
    content.write_bytes(b"weights")
    for trial_id in trials:
        storage.put_file(content, f"trials/{trial_id}/1/best.keras")
    return experiment_id


def delete(database: Database, experiment_id: str) -> None:
    with database.write() as session:
        runs.delete_experiment(session, experiment_id, "Ada")


def test_deleted_experiment_leaves_its_opening_and_no_files(
    database: Database, storage: Storage, tmp_path: Path, record: FinalRecord
) -> None:
    kept = finished(database, storage, tmp_path / "kept", record)
    gone = finished(database, storage, tmp_path / "gone", record)
    delete(database, gone)

    with database.read() as session:
        assert deleted.with_files(session) == [gone]
    deleted.remove_files(database, storage, gone)

    with database.read() as session:
        assert deleted.with_files(session) == []
        with pytest.raises(ExperimentNotFound, match="was deleted by Ada at"):
            runs.find_experiment(session, gone)
        with pytest.raises(ModelNotFound, match="was deleted by Ada at"):
            registry.model(session, f"mdl_{gone}")
        assert session.get(TestOpening, gone) is not None
        assert session.get_one(Model, f"mdl_{gone}").metrics == session.get_one(Model, f"mdl_{kept}").metrics
        assert session.scalar(select(func.count()).select_from(Event).where(Event.experiment_id == gone)) == 0
        with_epochs = set(session.scalars(select(Trial.experiment_id).join(EpochRow, EpochRow.trial_id == Trial.id)))
        assert with_epochs == {kept}
        trials = {trial.id: trial.experiment_id for trial in session.scalars(select(Trial))}
        stored = session.get_one(Model, f"mdl_{kept}").store_key
    assert {trials[key.split("/")[1]] for key in storage.keys("trials")} == {kept}
    assert all(key.startswith(f"{stored}/") for key in storage.keys("models"))


def test_deletion_may_be_repeated(database: Database, storage: Storage, tmp_path: Path, record: FinalRecord) -> None:
    experiment_id = finished(database, storage, tmp_path / "made", record)
    delete(database, experiment_id)
    with database.read() as session:
        first = session.get_one(Experiment, experiment_id).deleted_at
    delete(database, experiment_id)
    with database.read() as session:
        assert session.get_one(Experiment, experiment_id).deleted_at == first


def test_unfinished_experiment_is_not_deleted(database: Database) -> None:
    with database.write() as session:
        experiment_id = runs.submit(session, ExperimentSpec(dataset="synthetic")).id
    with pytest.raises(ExperimentUnfinished):
        delete(database, experiment_id)


def test_same_experiment_can_be_submitted_again_with_its_key(database: Database) -> None:
    spec = ExperimentSpec(dataset="synthetic")
    with database.write() as session:
        first = runs.submit(session, spec, key="monday").id
        runs.cancel(session, first)
    delete(database, first)
    with database.write() as session:
        assert runs.submit(session, spec, key="monday").id != first


def test_champion_and_its_experiment_are_not_deleted(
    database: Database, storage: Storage, tmp_path: Path, record: FinalRecord
) -> None:
    experiment_id = finished(database, storage, tmp_path / "made", record)
    with database.write() as session:
        registry.promote(session, f"mdl_{experiment_id}", actor="Ada", reason="good")
    with pytest.raises(ModelIsChampion), database.write() as session:
        registry.delete(session, f"mdl_{experiment_id}", "Ada")
    with pytest.raises(ModelIsChampion):
        delete(database, experiment_id)
    with database.read() as session:
        assert session.get_one(Experiment, experiment_id).deleted_at is None


def test_deleted_model_is_neither_promoted_nor_rolled_back_to(
    database: Database, storage: Storage, tmp_path: Path, record: FinalRecord
) -> None:
    first, second = (finished(database, storage, tmp_path / name, record) for name in ("first", "second"))
    with database.write() as session:
        for experiment_id in (first, second):
            registry.promote(session, f"mdl_{experiment_id}", actor="Ada", reason="good")
        registry.delete(session, f"mdl_{first}", "Ada")
    with pytest.raises(NothingToRollBackTo), database.write() as session:
        registry.roll_back(session, actor="Ada", reason="back")
    with pytest.raises(ModelNotFound), database.write() as session:
        registry.promote(session, f"mdl_{first}", actor="Ada", reason="again")
    with database.read() as session:
        assert [step.version for step in registry.history(session)] == [f"mdl_{second}", f"mdl_{first}"]
        assert runs.find_experiment(session, first).result is not None
