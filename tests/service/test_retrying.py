"""Retrying a failed experiment over HTTP, on its page and on the command line."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from starlette.testclient import TestClient

from models_store import runs
from models_store.database import Database
from tests.queued_experiment import queue_trials
from tests.service.commands.conftest import dermatriage, server

__all__ = ["dermatriage", "server"]


@pytest.fixture
def failed(database: Database) -> str:
    """An experiment whose one trial failed before its first epoch."""
    with database.write() as session:
        experiment_id = queue_trials(session, "CNN_v1/W3", strategies=[]).id
        claim = runs.claim_next(session, ["cpu"], "w", timedelta(minutes=1))
        assert claim is not None
        error = {"kind": "WeightsUnavailable", "message": "no weights for VGG16 were found"}
        runs.fail_trial(session, claim, error, retry=False, max_attempts=1)
        runs.advance(session, experiment_id)
    return experiment_id


def test_failed_experiment_is_retried_once(client: TestClient, failed: str) -> None:
    answer = client.post(f"/v1/experiments/{failed}/retry")
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (202, "queued", None)
    assert client.get(f"/v1/experiments/{failed}/trials").json()["items"][0]["status"] == "queued"
    again = client.post(f"/v1/experiments/{failed}/retry")
    assert (again.status_code, again.json()["type"].rpartition("/")[2].rpartition(":")[2]) == (409, "not-retryable")


def test_events_of_a_retried_experiment_go_on_after_its_first_end(
    client: TestClient, database: Database, failed: str
) -> None:
    client.post(f"/v1/experiments/{failed}/retry")
    with database.write() as session:
        runs.cancel(session, failed)
    events = client.get(f"/v1/experiments/{failed}/events").text
    assert events.index('"failed", "retried": true') < events.index('"status": "cancelled"')


def test_failed_page_gives_the_cause_a_retry_and_no_empty_plots(client: TestClient, failed: str) -> None:
    page = client.get(f"/experiments/{failed}").text
    assert "no weights for VGG16 were found" in page
    assert 'id="curve-recall"' not in page
    assert f'action="/experiments/{failed}/retry"' in page
    assert client.post(f"/experiments/{failed}/retry", data={}).url.path == f"/experiments/{failed}"
    page = client.get(f"/experiments/{failed}").text
    assert 'id="curve-recall"' in page
    assert "Retry</button>" not in page


@pytest.mark.usefixtures("server")
def test_command_line_retries(dermatriage: Callable[..., Any], failed: str) -> None:
    assert dermatriage("retry", failed).out.startswith(f"{failed} is queued.")
    refused = dermatriage("retry", failed)
    assert (refused.exit_code, "only a failed one can be retried" in refused.err) == (2, True)
