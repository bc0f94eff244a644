"""`GET /v1/system`: workers, queues, the champion, and whether its answers drift."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from redis import Redis
from sqlalchemy import insert
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.experiment import phases
from models_store.presence import Presence, remove_heartbeat, send_heartbeat
from models_store.tables import Event, PredictionRow, Trial
from service.system.drift import DAYS, chance_distance
from tests.finished_experiment import a_spec, store_experiment, store_trial

pytestmark = pytest.mark.both_databases

MakeModel = Callable[..., str]
TOLD: dict[str, Any] = {
    "cores": 16,
    "python": "3.11.9",
    "version": "0.1.0",
    "commit": "c0ffee",
    "started_at": "2026-01-05T09:00Z",
}
NOTICE = Presence("gpu-1:7", "gpu-1", ("cpu", "gpu"), slots=2, gpus=("0", "1"), **TOLD)


def store_running(database: Database) -> str:
    """One trial that `gpu-1:7` holds, one that a worker without heartbeat holds, and two that wait."""
    spec, moment = a_spec(), datetime.now(UTC)
    with database.write() as session:
        experiment = store_experiment(session, spec, "running", 1)
        for position, (name, trial) in enumerate(phases.screening(spec).items()):
            row = store_trial(session, experiment, 1, position, name, trial, "running" if position < 2 else "queued")
            row.created_at = moment - timedelta(seconds=100 + position)
            if position < 2:
                row.worker, row.lease_expires_at = ("gpu-1:7", "lost-2:9")[position], moment + timedelta(seconds=40)
        session.add(Event(experiment_id=experiment.id, number=1, kind="epoch", data={}, created_at=moment))
        news = {"trial_id": row.id, "status": "queued"}
        session.add(Event(experiment_id=experiment.id, number=2, kind="trial", data=news, created_at=moment))
        return experiment.id


def store_predictions(database: Database, version: str, moment: datetime, scores: Any, label: str = "benign") -> None:
    rows = [
        {
            "id": f"prd_{label}_{moment:%d}_{number}",
            "created_at": moment,
            "model_version": version,
            "dataset": "d",
            "threshold": 0.5,
            "probability": float(score),
            "label": label,
            "image_sha256": "0" * 64,
            "image_stored": False,
            "warnings": [],
        }
        for number, score in enumerate(scores)
    ]
    with database.write() as session:
        session.execute(insert(PredictionRow), rows)


def test_an_empty_service_is_shown_as_empty(client: TestClient) -> None:
    system = client.get("/v1/system").json()
    assert system["workers"] == system["events"] == []
    assert [queue["waiting"] for queue in system["queues"]] == [0, 0]
    assert len(system["days"]) == DAYS
    assert all(day["malignant"] + day["benign"] == 0 for day in system["days"])
    assert {name: check["ok"] for name, check in system["checks"].items()} == {
        "database": True,
        "broker": True,
        "store": True,
        "model": False,
    }
    assert system["versions"]["product"]
    assert system["champion"] is None


def test_workers_are_those_with_a_heartbeat_and_those_that_hold_a_trial(
    client: TestClient, database: Database, broker_url: str
) -> None:
    experiment_id = store_running(database)
    with Redis.from_url(broker_url) as redis:
        send_heartbeat(redis, NOTICE)
        system = client.get("/v1/system").json()
        remove_heartbeat(redis, NOTICE.name)
    live, lost = system["workers"]
    assert (live["name"], live["slots"], live["gpus"]) == ("gpu-1:7", 2, ["0", "1"])
    assert 0 <= live["heard_seconds_ago"] < 20
    assert [trial["experiment_id"] for trial in live["running"]] == [experiment_id]
    assert 0 < live["running"][0]["lease_seconds_left"] <= 40
    assert (lost["name"], lost["heard_seconds_ago"], lost["slots"]) == ("lost-2:9", None, None)
    cpu = next(queue for queue in system["queues"] if queue["name"] == "cpu")
    assert (cpu["waiting"], cpu["slots"]) == (2, 2)
    assert 100 <= cpu["oldest_seconds"] < 200
    assert [(event["number"], event["kind"]) for event in system["events"]] == [(2, "trial")]


def test_without_a_broker_workers_with_a_lease_are_listed(app: FastAPI, client: TestClient, database: Database) -> None:
    store_running(database)
    settings = app.state.service.settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    app.state.service = replace(app.state.service, settings=settings)
    system = client.get("/v1/system").json()
    assert system["workers_heard"] is system["checks"]["broker"]["ok"] is False
    assert [worker["name"] for worker in system["workers"]] == ["gpu-1:7", "lost-2:9"]


def test_store_that_raises_is_reported_as_unreachable(app: FastAPI, client: TestClient) -> None:
    class Away:
        def exists(self, key: str) -> bool:
            raise OSError(key)

    app.state.service = replace(app.state.service, storage=Away())
    check = client.get("/v1/system").json()["checks"]["store"]
    assert (check["ok"], check["detail"]) == (False, "it does not answer (OSError)")


def test_predictions_are_counted_by_utc_day_and_drift_is_the_champions(
    app: FastAPI, client: TestClient, database: Database, make_model: MakeModel
) -> None:
    # Given a champion with known validation scores, and answers of two days: alike on the first, other on the second
    version = make_model(promote=True)
    client.get("/readyz")
    expected = tuple(np.linspace(0, 1, 200))
    service = app.state.service
    service.predictor.serving = replace(service.predictor.serving, validation_scores=expected)
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    store_predictions(database, version, midnight - timedelta(seconds=1), np.linspace(0, 1, 100))
    store_predictions(database, version, midnight, np.full(60, 0.99))
    store_predictions(database, version, midnight, [0.999] * 2, "malignant")
    # When the system is read
    *_, before, yesterday, today = client.get("/v1/system").json()["days"]
    # Then
    assert (before["benign"], yesterday["benign"], today["benign"], today["malignant"]) == (0, 100, 60, 2)
    assert before["drift"] is None
    assert yesterday["drift"] < yesterday["chance"] == pytest.approx(chance_distance(100, 200))
    assert today["drift"] > 0.9 > today["chance"]


def test_too_few_predictions_give_no_drift(client: TestClient, database: Database, make_model: MakeModel) -> None:
    version = make_model(promote=True)
    store_predictions(database, version, datetime.now(UTC), [0.5] * 49)
    assert client.get("/v1/system").json()["days"][-1] | {"day": None} == {
        "day": None,
        "malignant": 0,
        "benign": 49,
        "drift": None,
        "chance": None,
    }


@pytest.mark.parametrize(("scores", "expected", "limit"), [(100, 100, 0.192), (50, 1003, 0.197), (1000, 1000, 0.0607)])
def test_chance_distance_is_smirnovs(scores: int, expected: int, limit: float) -> None:
    assert chance_distance(scores, expected) == pytest.approx(limit, abs=5e-4)


def test_trials_that_ended_are_held_by_no_worker(client: TestClient, database: Database) -> None:
    store_running(database)
    with database.write() as session:
        for trial in session.query(Trial):
            trial.status = "succeeded"
    assert client.get("/v1/system").json()["workers"] == []
