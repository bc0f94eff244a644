"""Experiments in MLflow, read back with MLflow's own client."""

import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import pytest

from models_store.database import Database
from models_store.store import registry
from models_store.store.storage import Storage
from models_store.tables import EpochRow, Experiment, Trial
from service.cli import exports
from service.cli.exports import mlflow as exporting
from tests.finished_experiment import a_final_record, a_spec, store_experiment, store_finished

pytestmark = [
    pytest.mark.usefixtures("server"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]
Dermatriage = Callable[..., Any]


@pytest.fixture
def experiment(database: Database, storage: Storage, tmp_path: Path) -> str:
    spec = a_spec()
    with database.write() as session:
        return store_finished(session, storage, tmp_path / "bundle", spec, a_final_record(spec))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store: MLflow takes seconds to make its tables."""
    file = tmp_path_factory.mktemp("mlflow") / "empty.db"
    mlflow.MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(template: Path, tmp_path: Path) -> str:
    """The default store by its full path: MLflow keeps one connection for each address in a process."""
    shutil.copyfile(template, tmp_path / "mlruns.db")
    return f"sqlite:///{tmp_path}/mlruns.db"


def runs(folder: Path) -> tuple[Any, list[Any]]:
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlruns.db")
    return client, client.search_runs([client.get_experiment_by_name("dermatriage").experiment_id])


def test_experiment_becomes_a_run_with_one_child_per_trial(
    dermatriage: Dermatriage, experiment: str, tmp_path: Path
) -> None:
    trials = dermatriage("show", experiment, "--json").json["trials"]
    shown = dermatriage("show", experiment, "--json").json["experiment"]

    ended = dermatriage("export", "mlflow", experiment)

    assert (ended.exit_code, "mlruns.db" in ended.out) == (0, True), ended.err
    client, found = runs(tmp_path)
    [parent] = [run for run in found if run.data.tags["dermatriage.id"] == experiment]
    children = {run.data.tags["dermatriage.id"]: run for run in found if run is not parent}
    assert children.keys() == {trial["id"] for trial in trials}
    assert (parent.info.run_name, parent.info.status) == ("fabricated", "FINISHED")
    assert parent.data.params["selection.policy"] == shown["spec"]["selection"]["policy"]
    test = shown["result"]["test"]
    assert parent.data.metrics["test/recall"] == test["recall"]
    assert parent.data.metrics["test/recall_low"] == test["intervals"]["recall"]["low"]
    assert parent.data.metrics["test/fn"] == test["confusion"]["fn"]
    assert parent.data.metrics["threshold"] == shown["result"]["threshold"]
    model = parent.data.tags["dermatriage.model_version"]
    assert model == shown["result"]["model_version"]
    assert parent.data.tags["dermatriage.promotion"] == "not promoted: does not beat <mdl_0> by f2"
    assert "dermatriage.submitted_by" not in parent.data.tags  # keys are off
    files = {file.path for file in client.list_artifacts(parent.info.run_id, "model")}
    assert {"model/model.onnx", "model/card.md", "model/calibration.json", "model/manifest.json"} <= files
    downloaded = Path(client.download_artifacts(parent.info.run_id, "model/model.onnx"))
    assert downloaded.read_bytes() == (tmp_path / "bundle" / "model.onnx").read_bytes()


def test_epochs_keep_their_steps_and_times(
    dermatriage: Dermatriage, experiment: str, database: Database, tmp_path: Path, store: str
) -> None:
    dermatriage("export", "mlflow", experiment, "--to", store)
    client, found = runs(tmp_path)
    states = {"succeeded": "FINISHED", "collapsed": "FAILED", "failed": "FAILED"}
    with database.read() as session:
        for run in found:
            trial = session.get(Trial, run.data.tags["dermatriage.id"])
            if trial is None:
                continue
            epochs = session.query(EpochRow).filter_by(trial_id=trial.id).order_by(EpochRow.number).all()
            history = client.get_metric_history(run.info.run_id, "val_recall")
            assert [(one.step, one.value) for one in sorted(history, key=lambda one: one.step)] == [
                (epoch.number, epoch.metrics["val_recall"]) for epoch in epochs
            ]
            assert {one.timestamp for one in history} == {round(e.created_at.timestamp() * 1000) for e in epochs}
            assert run.info.status == states[trial.status]
            assert run.info.start_time == round(trial.started_at.timestamp() * 1000)
            assert run.data.params.get("architecture", "") == trial.spec.get("architecture", "")


def test_second_export_changes_nothing(dermatriage: Dermatriage, experiment: str, tmp_path: Path, store: str) -> None:
    dermatriage("export", "mlflow", experiment, "--to", store)
    before = {run.info.run_id for run in runs(tmp_path)[1]}

    again = dermatriage("export", "mlflow", experiment, "--to", store)

    assert (again.exit_code, "already" in again.out) == (0, True)
    assert {run.info.run_id for run in runs(tmp_path)[1]} == before


def test_interrupted_export_is_replaced(
    dermatriage: Dermatriage, experiment: str, tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_given: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(exporting, "_write_model", interrupted)
        assert dermatriage("export", "mlflow", experiment, "--to", store).exit_code == 1
    left = {run.info.run_id for run in runs(tmp_path)[1]}

    assert dermatriage("export", "mlflow", experiment, "--to", store).exit_code == 0

    whole = {run.info.run_id for run in runs(tmp_path)[1]}
    assert len(whole) == len(left)
    assert not whole & left


def test_experiment_that_was_retried_is_exported_again(
    dermatriage: Dermatriage, experiment: str, database: Database, tmp_path: Path, store: str
) -> None:
    dermatriage("export", "mlflow", experiment, "--to", store)
    before = {run.info.run_id for run in runs(tmp_path)[1]}
    with database.write() as session:
        session.get_one(Experiment, experiment).finished_at = datetime(2026, 2, 1, tzinfo=UTC)

    dermatriage("export", "mlflow", "latest", "--to", store)

    after = {run.info.run_id for run in runs(tmp_path)[1]}
    assert len(after) == len(before)
    assert not after & before


def test_experiment_whose_model_was_deleted_is_exported_without_it(
    dermatriage: Dermatriage, experiment: str, database: Database, tmp_path: Path, store: str
) -> None:
    version = dermatriage("show", experiment, "--json").json["experiment"]["result"]["model_version"]
    with database.write() as session:
        registry.delete(session, version, "a test")

    ended = dermatriage("export", "mlflow", experiment, "--to", store)

    assert (ended.exit_code, "without the files of its model, which was deleted" in ended.out) == (0, True)
    client, found = runs(tmp_path)
    [parent] = [run for run in found if run.data.tags["dermatriage.id"] == experiment]
    assert (parent.info.status, "test/recall" in parent.data.metrics) == ("FINISHED", True)
    assert parent.data.tags["dermatriage.model_deleted"] == "true"
    assert client.list_artifacts(parent.info.run_id, "model") == []
    assert "already" in dermatriage("export", "mlflow", experiment, "--to", store).out


def test_running_experiment_is_refused(dermatriage: Dermatriage, database: Database, tmp_path: Path) -> None:
    with database.write() as session:
        identifier = store_experiment(session, a_spec(), "running", 1).id

    ended = dermatriage("export", "mlflow", identifier)

    assert (ended.exit_code, "dermatriage watch" in ended.err) == (2, True)
    assert not (tmp_path / "mlruns.db").exists()


def test_store_that_cannot_be_used_is_refused_with_the_remedy(dermatriage: Dermatriage, experiment: str) -> None:
    ended = dermatriage("export", "mlflow", experiment, "--to", "nothing://here")

    assert (ended.exit_code, "sqlite:///mlruns.db" in ended.err) == (2, True)


def test_export_without_the_extra_names_it(
    dermatriage: Dermatriage, experiment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)

    ended = dermatriage("export", "mlflow", experiment)

    assert (ended.exit_code, "pip install 'dermatriage[mlflow]'" in ended.err) == (2, True)


def test_without_any_module_there_is_no_export(dermatriage: Dermatriage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "__path__", [])

    assert "mlflow" not in dermatriage("export", "--help").out
    assert dermatriage("export", "mlflow", "exp_1").exit_code == 2
