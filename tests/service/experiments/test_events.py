"""Events are streamed as they happen, none is missed, and a client that reconnects continues where it stopped."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

from models_store import runs
from models_store.database import Database
from models_store.runs import Claim
from models_store.settings import Settings
from models_store.store.storage import Storage
from service.access import keys, sessions
from service.app import create_app
from service.experiments import events
from service.web.__main__ import server_options
from tests.queued_experiment import an_epoch
from tests.service.recorded import claimed_trial

pytestmark = pytest.mark.both_databases

LEASE = timedelta(minutes=1)


@contextmanager
def served(app: FastAPI, port: int = 0) -> Iterator[str]:
    """The application on a real server, as long as the block lasts."""
    options = server_options(app.state.service.settings) | {"timeout_graceful_shutdown": 10}
    server = uvicorn.Server(uvicorn.Config(app, port=port, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    listening: socket.socket = server.servers[0].sockets[0]
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.fixture
def url(app: FastAPI) -> Iterator[str]:
    with served(app) as url:
        yield url


@pytest.fixture
def claim(database: Database) -> Claim:
    """A trial that runs, two events into its experiment: queued, phase; and its own: running."""
    return claimed_trial(database, LEASE)


def report_epoch(database: Database, claim: Claim, number: int) -> None:
    with database.write() as session:
        runs.heartbeat(session, claim, LEASE, [an_epoch(number)])


def end(database: Database, claim: Claim) -> None:
    with database.write() as session:
        runs.fail_trial(session, claim, {"kind": "X", "message": "x"}, retry=False, max_attempts=1)
        runs.fail_experiment(session, claim.experiment_id, {"kind": "X", "message": "x"})


def stream(url: str, claim: Claim, **headers: str) -> Iterator[dict[str, Any]]:
    """Every event until the stream ends."""
    address = f"{url}/v1/experiments/{claim.experiment_id}/events"
    with httpx.stream("GET", address, headers=headers, timeout=30, trust_env=False) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: dict[str, Any] = {}
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name in ("id", "event"):
                event[name] = value
            elif name == "data":
                event["data"] = json.loads(value)
            elif line == "" and "id" in event:
                yield event
                event = {}


def test_stream_sends_past_events_then_new_ones_and_ends_with_the_experiment(
    url: str, database: Database, claim: Claim
) -> None:
    received = stream(url, claim)
    seen = [next(received) for _ in range(4)]
    for number in (1, 2):
        report_epoch(database, claim, number)
        seen.append(next(received))
    end(database, claim)
    seen += received
    assert [event["id"] for event in seen] == [str(number) for number in range(1, 9)]
    kinds = ["experiment", "phase", "experiment", "trial", "epoch", "epoch", "trial", "experiment"]
    assert [event["event"] for event in seen] == kinds
    assert seen[4]["data"]["metrics"] == {"val_recall": 0.5}
    assert seen[-1]["data"]["status"] == "failed"


def test_client_that_reconnects_continues_after_its_last_event(url: str, database: Database, claim: Claim) -> None:
    end(database, claim)
    assert [event["id"] for event in stream(url, claim, **{"Last-Event-ID": "2"})] == ["3", "4", "5", "6"]


def test_ended_experiment_without_further_events_stops_reconnection(url: str, database: Database, claim: Claim) -> None:
    end(database, claim)
    address = f"{url}/v1/experiments/{claim.experiment_id}/events"
    assert httpx.get(address, headers={"Last-Event-ID": "6"}, trust_env=False).status_code == 204
    assert httpx.get(address, params={"after": 6}, trust_env=False).status_code == 204


def test_no_event_is_missed_when_the_web_server_is_restarted(
    app: FastAPI, settings: Settings, database: Database, storage: Storage, claim: Claim
) -> None:
    seen: list[str] = []
    with served(app) as url:
        received = stream(url, claim)
        seen += [next(received)["id"] for _ in range(4)]
        received.close()
    for number in (1, 2):
        report_epoch(database, claim, number)
    end(database, claim)
    with served(create_app(settings, database=Database(settings.database_url), storage=storage)) as url:
        seen += [event["id"] for event in stream(url, claim, **{"Last-Event-ID": seen[-1]})]
    assert seen == [str(number) for number in range(1, 9)]


def test_many_listeners_share_one_query_per_poll(
    url: str, app: FastAPI, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries: list[int] = []
    count = app.state.feed._count
    monkeypatch.setattr(app.state.feed, "_count", lambda ids: queries.append(len(ids)) or count(ids))
    streams = [stream(url, claim) for _ in range(20)]
    for received in streams:
        next(received)
    queries.clear()
    time.sleep(1.6)
    assert 1 <= len(queries) <= 4
    assert set(queries) == {1}
    for received in streams:
        received.close()


def test_idle_stream_sends_comments_and_survives_a_database_outage(
    url: str, app: FastAPI, database: Database, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    def outage(*_: object) -> None:
        raise OperationalError("SELECT", {}, Exception("the database does not respond"))

    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.1)
    address = f"{url}/v1/experiments/{claim.experiment_id}/events?after=4"
    with httpx.stream("GET", address, timeout=30, trust_env=False) as answer:
        lines = answer.iter_lines()
        with monkeypatch.context() as patch:
            patch.setattr(events, "_read_events", outage)
            patch.setattr(app.state.feed, "_count", outage)
            assert [next(lines) for _ in range(5)] == ["retry: 2000", "", ": keep-alive", "", ": keep-alive"]
            time.sleep(0.6)
        end(database, claim)
        assert "id: 5" in list(lines)


@pytest.mark.parametrize("signed_in", [False, True])
def test_a_stream_ends_soon_after_its_key_or_session(
    signed_in: bool, settings: Settings, storage: Storage, claim: Claim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEY_CHECK_SECONDS", 0.05)
    database = Database(settings.database_url)
    app = create_app(settings.model_copy(update={"auth": "keys"}), database=database, storage=storage)
    with database.write() as session:
        key, text = keys.create(session, "robot", ["read"])
        cookie = sessions.begin(session, key.id)
    headers = {"Cookie": f"{sessions.COOKIE}={cookie}"} if signed_in else {"Authorization": f"Bearer {text}"}
    with served(app) as url:
        received = stream(url, claim, **headers)
        for _ in range(4):
            next(received)
        with database.write() as session:
            if signed_in:
                sessions.end(session, cookie)
            else:
                keys.revoke(session, key.id)
        assert list(received) == []


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/experiments/exp_0/events", {}, 404),
        ("/v1/experiments/exp_0/events", {"Last-Event-ID": "x"}, 422),
        ("/v1/experiments/exp_0/events?after=-1", {}, 422),
    ],
)
def test_invalid_stream_requests_are_refused(url: str, path: str, headers: dict[str, str], status: int) -> None:
    answer = httpx.get(f"{url}{path}", headers=headers, trust_env=False)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
