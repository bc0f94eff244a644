"""An experiment in MLflow: a run of its own, and a child run for each trial. Needs the extra `mlflow`."""

import json
import logging
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from dermatriage_client import Client, Refused
from dermatriage_client.schemas import ENDED, ExperimentRead, ResultRead, TrialRead
from models_store.contract.catalog import DISCLAIMER
from service.cli.experiments import ExperimentId
from service.cli.identifiers import experiment_id
from service.cli.output import BadInput, Url, command_line, connected, console

app = typer.Typer(add_completion=False)

MLFLOW_EXPERIMENT = "dermatriage"
ID, COMPLETE = "dermatriage.id", "dermatriage.finished_at"
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
STATUSES = {
    "succeeded": "FINISHED",
    "failed": "FAILED",
    "collapsed": "FAILED",
    "cancelled": "KILLED",
    "pruned": "KILLED",
}
# Limits of MLflow: items in one request, and characters of a parameter.
MAX_METRICS, MAX_PARAMETERS, MAX_PARAMETER_CHARACTERS = 1000, 100, 6000
Figure = tuple[str, float, datetime, int]


@app.command("mlflow")
def export(
    experiment: ExperimentId,
    to: Annotated[str, typer.Option(help="Tracking store of MLflow.")] = "sqlite:///mlruns.db",
    url: Url = None,
) -> None:
    """Copy an experiment that has ended into MLflow: parameters, the metrics of each epoch, test figures, the model."""
    with connected(url) as client:
        found = client.experiment(experiment_id(client, experiment))
        if found.status not in ENDED:
            watch = command_line(client, f"watch {found.id}")
            raise BadInput(f"{found.id} is {found.status}; export it when it has ended: {watch}")
        store = _store(to)
        if store.holds(found):
            console().print(f"{found.id} is in {to} already.", soft_wrap=True)
            return
        deleted = _write(store, client, found)
    lacking = " without the files of its model, which was deleted" if deleted else ""
    console().print(f"Wrote {found.id} to {to}{lacking}; mlflow ui --backend-store-uri {to} shows it.", soft_wrap=True)


@dataclass(frozen=True)
class Store:
    """A tracking store, and our experiment in it."""

    client: Any
    experiment_id: str

    def holds(self, experiment: ExperimentRead) -> bool:
        """Whether the finished experiment was exported completely; deletes runs of an interrupted or older export."""
        complete = False
        for run in self.client.search_runs([self.experiment_id], f"tags.`{ID}` = '{experiment.id}'"):
            if run.data.tags.get(COMPLETE) == str(experiment.finished_at):
                complete = True
                continue
            for child in self.client.search_runs([self.experiment_id], f"tags.`{PARENT}` = '{run.info.run_id}'"):
                self.client.delete_run(child.info.run_id)
            self.client.delete_run(run.info.run_id)
        return complete

    def start(self, name: str, started: datetime, tags: Mapping[str, str], parameters: Mapping[str, str]) -> str:
        from mlflow.entities import Param

        run = self.client.create_run(self.experiment_id, _milliseconds(started), dict(tags), name)
        shown = iter([Param(key, value[:MAX_PARAMETER_CHARACTERS]) for key, value in parameters.items()])
        while batch := list(islice(shown, MAX_PARAMETERS)):
            self.client.log_batch(run.info.run_id, params=batch)
        return str(run.info.run_id)

    def log(self, run_id: str, figures: Sequence[Figure]) -> None:
        from mlflow.entities import Metric

        metrics = iter([Metric(key, value, _milliseconds(moment), step) for key, value, moment, step in figures])
        while batch := list(islice(metrics, MAX_METRICS)):
            self.client.log_batch(run_id, metrics=batch)

    def end(self, run_id: str, status: str, finished: datetime) -> None:
        self.client.set_terminated(run_id, STATUSES[status], _milliseconds(finished))


def _store(to: str) -> Store:
    """Raises `BadInput` where MLflow is not installed or cannot use the store."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ModuleNotFoundError as missing:
        raise BadInput("MLflow is not installed: pip install 'dermatriage[mlflow]'") from missing
    logging.getLogger("mlflow").setLevel(logging.WARNING)  # it reports each table that it makes
    try:
        client = MlflowClient(tracking_uri=to)
        known = client.get_experiment_by_name(MLFLOW_EXPERIMENT)
        identifier = client.create_experiment(MLFLOW_EXPERIMENT) if known is None else known.experiment_id
    except MlflowException as refused:
        raise BadInput(f"MLflow cannot use {to}: {refused}; name a store such as sqlite:///mlruns.db") from refused
    return Store(client, identifier)


def _write(store: Store, client: Client, experiment: ExperimentRead) -> bool:
    """Returns whether the files of the model are missing because it was deleted."""
    began = experiment.started_at or experiment.created_at
    ended = experiment.finished_at or began
    result, deleted = experiment.result, False
    tags = {ID: experiment.id, NOTE: DISCLAIMER, "dermatriage.status": experiment.status}
    if experiment.submitted_by is not None:
        tags["dermatriage.submitted_by"] = experiment.submitted_by
    if result is not None:
        tags |= {"dermatriage.winner": result.winner, "dermatriage.model_version": result.model_version}
        if result.promotion is not None:
            verdict = "promoted" if result.promotion.promoted else "not promoted"
            tags["dermatriage.promotion"] = f"{verdict}: {result.promotion.reason}"
    name = experiment.spec.get("name") or experiment.id
    run_id = store.start(name, began, tags, dict(_flat(experiment.spec)))
    for trial in client.trials(experiment.id):
        _write_trial(store, trial, run_id)
    if result is not None:
        store.log(run_id, list(_test_figures(result, ended)))
        try:
            _write_model(store, client, run_id, result.model_version)
        except Refused as refused:
            if refused.kind != "model-not-found":
                raise
            deleted = True
            store.client.set_tag(run_id, "dermatriage.model_deleted", "true")
    store.end(run_id, experiment.status, ended)
    store.client.set_tag(run_id, COMPLETE, str(experiment.finished_at))
    return deleted


def _write_trial(store: Store, trial: TrialRead, parent: str) -> None:
    began = trial.started_at or trial.created_at
    ended = trial.finished_at or began
    tags = {ID: trial.id, PARENT: parent, "dermatriage.status": trial.status, "dermatriage.phase": str(trial.phase)}
    if trial.error is not None:
        tags["dermatriage.error"] = f"{trial.error.kind}: {trial.error.message}"
    run_id = store.start(trial.name, began, tags, dict(_flat(trial.spec)))
    figures = [
        (key, value, epoch.created_at, epoch.number)
        for epoch in trial.epochs or ()
        for key, value in {**_numbers(epoch.metrics), "seconds": epoch.seconds}.items()
    ]
    best = [
        (f"best/{key}", value, ended, trial.best_epoch or 0) for key, value in _numbers(trial.metrics or {}).items()
    ]
    store.log(run_id, figures + best)
    store.end(run_id, trial.status, ended)


def _write_model(store: Store, client: Client, run_id: str, version: str) -> None:
    """The files of the bundle, below `model`."""
    with TemporaryDirectory() as folder:
        bundle = client.bundle(version, Path(folder) / "bundle.zip")
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(folder)
        store.client.log_artifacts(run_id, str(Path(folder) / version), "model")


def _test_figures(result: ResultRead, moment: datetime) -> Iterator[Figure]:
    test = result.test.model_dump()
    figures = _numbers(test) | _numbers(test["confusion"])
    for name, interval in test["intervals"].items():
        figures |= {f"{name}_{end}": value for end, value in _numbers(interval or {}).items()}
    for name, value in figures.items():
        yield f"test/{name}", value, moment, 0
    yield "threshold", result.threshold, moment, 0


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items() if type(value) in (int, float)}


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Every parameter as text, nested ones as `selection.policy`."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value if isinstance(value, str) else json.dumps(value)


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
