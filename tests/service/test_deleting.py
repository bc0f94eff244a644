"""Deleting experiments and models over HTTP, on the pages and on the command line."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from dermatriage_client import Client
from models_store.database import Database
from models_store.tables import Experiment, Model
from service.cli import output
from tests.service.commands.conftest import dermatriage, server
from tests.service.dashboard.conftest import MakeExperiment, final, make_experiment, make_result
from tests.service.served import served

__all__ = ["dermatriage", "final", "make_experiment", "make_result", "server"]


def test_deleted_experiment_is_gone_from_every_list(client: TestClient, make_result: MakeExperiment) -> None:
    experiment_id = make_result()
    version = client.get("/v1/models").json()["items"][0]["version"]
    trial_id = client.get(f"/v1/experiments/{experiment_id}/trials").json()["items"][0]["id"]
    for _ in range(2):
        assert client.delete(f"/v1/experiments/{experiment_id}").status_code == 204
    for gone in (
        f"/v1/experiments/{experiment_id}",
        f"/v1/experiments/{experiment_id}/trials",
        f"/v1/experiments/{experiment_id}/events",
        f"/v1/experiments/{experiment_id}/report",
        f"/v1/trials/{trial_id}",
        f"/v1/models/{version}",
    ):
        answer = client.get(gone)
        assert answer.status_code == 404, gone
        assert "was deleted by local at" in answer.json()["detail"]
    assert client.get("/v1/experiments").json()["items"] == client.get("/v1/models").json()["items"] == []
    assert experiment_id not in client.get("/").text


def test_opening_of_a_deleted_experiment_still_counts(client: TestClient, make_result: MakeExperiment) -> None:
    first, second = make_result("first"), make_result("second")
    client.delete(f"/v1/experiments/{first}")
    assert "1 by other experiments" in client.get(f"/v1/experiments/{second}/report").text


def test_refusals_name_the_remedy(client: TestClient, make_result: MakeExperiment) -> None:
    waiting = client.post("/v1/experiments", json={"dataset": "synthetic"}).json()["id"]
    refused = client.delete(f"/v1/experiments/{waiting}")
    assert (refused.status_code, "Cancel it" in refused.json()["remedy"]) == (409, True)
    experiment_id = make_result()
    version = f"mdl_{experiment_id}"
    client.post(f"/v1/models/{version}/promote", json={"reason": "good"})
    for refused in (client.delete(f"/v1/models/{version}"), client.delete(f"/v1/experiments/{experiment_id}")):
        assert (refused.status_code, "another version" in refused.json()["remedy"]) == (409, True)
    assert client.delete("/v1/models/mdl_unknown").status_code == 404


def test_deleted_model_leaves_the_result_of_its_experiment(client: TestClient, make_result: MakeExperiment) -> None:
    experiment_id = make_result()
    assert client.delete(f"/v1/models/mdl_{experiment_id}").status_code == 204
    assert client.get(f"/v1/experiments/{experiment_id}").json()["result"]["test"]["recall"] is not None
    page = client.get(f"/experiments/{experiment_id}/result").text
    assert "model deleted" in page
    assert "Download bundle" not in page


def test_pages_delete_after_a_confirmation(
    client: TestClient, make_result: MakeExperiment, make_experiment: MakeExperiment, database: Database
) -> None:
    experiment_id, running = make_result(), make_experiment("running")
    assert "Delete experiment" not in client.get(f"/experiments/{running}").text
    assert "Delete experiment" in client.get(f"/experiments/{experiment_id}").text
    version = f"mdl_{experiment_id}"
    assert "Delete model" in client.get(f"/models/{version}").text
    client.post(f"/models/{version}/delete", data={})
    client.post(f"/experiments/{experiment_id}/delete", data={})
    with database.read() as session:
        assert session.get_one(Model, version).deleted_by == "local"
        assert session.get_one(Experiment, experiment_id).deleted_by == "local"


def test_client_deletes(app: FastAPI, make_result: MakeExperiment) -> None:
    experiment_id = make_result()
    with served(app) as url, Client(url) as client:
        client.delete_model(f"mdl_{experiment_id}")
        client.delete_experiment(experiment_id)
        assert list(client.experiments()) == list(client.models()) == []


@pytest.mark.usefixtures("server")
def test_command_line_deletes_after_a_confirmation(
    dermatriage: Callable[..., Any], make_result: MakeExperiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment_id = make_result()
    refused = dermatriage("delete", experiment_id)
    assert (refused.exit_code, "add --yes" in refused.err) == (2, True)
    monkeypatch.setattr(output, "is_interactive", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda _question, err: not err)
    assert dermatriage("delete", experiment_id).exit_code == output.INTERRUPTED
    assert dermatriage("delete-model", f"mdl_{experiment_id}", "--yes").exit_code == 0
    assert dermatriage("delete", experiment_id, "--yes").out == f"Deleted {experiment_id}.\n"
    assert dermatriage("experiments", "--json").json == []
