"""Disk use on the page, in the API and for Prometheus; pruning over HTTP and on the command line."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from models_store.store.storage import Storage
from service.system.disk import DiskUse
from tests.service.commands.conftest import dermatriage, server

__all__ = ["dermatriage", "server"]
REMOVED = {"checkpoints": 0, "checkpoint_bytes": 0, "logs": 0, "events": 0, "predictions": 0}


def test_disk_use_is_shown_once_it_is_measured(app: FastAPI, client: TestClient, storage: Storage) -> None:
    disk: DiskUse = app.state.service.disk
    disk.measure()
    disk = client.get("/v1/system").json()["disk"]
    assert disk["checkpoints"] == 0
    assert disk["database"] > 0
    assert f'dermatriage_disk_bytes{{kind="database"}} {disk["database"]:.1f}' in client.get("/metrics").text
    page = client.get("/system").text
    assert "Prediction images" in page
    assert "being measured" not in page
    assert storage.keys("trials") == []


def test_page_shows_that_the_disk_use_is_not_known_yet(
    app: FastAPI, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.state.service.disk, "measure", lambda: None)
    assert client.get("/v1/system").json()["disk"] is None
    assert "is being measured" in client.get("/system").text


def test_measurement_that_fails_is_logged_and_tried_again(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the store is away")

    monkeypatch.setattr("service.system.disk.disk_use", fail)
    app.state.service.disk.measure()
    assert "the store is away" in caplog.text


@pytest.mark.usefixtures("server")
def test_command_line_prunes_after_a_confirmation(dermatriage: Callable[..., Any]) -> None:
    assert dermatriage("prune", "--dry-run", "--json").json == REMOVED
    refused = dermatriage("prune")
    assert (refused.exit_code, "add --yes" in refused.err) == (2, True)
    assert dermatriage("prune", "--yes").out.startswith("Removed 0 checkpoints (0.0 MB)")
