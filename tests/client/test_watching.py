"""No event is missed or told twice, however the stream is cut: into chunks, by a broken answer, by a killed server."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from dermatriage_client import Event, Refused, Retries, ServerUnreachable
from models_store import runs
from models_store.database import Database
from models_store.runs import Claim
from models_store.settings import Settings
from service.embedded import probes
from tests.queued_experiment import an_epoch
from tests.service.recorded import claimed_trial
from tests.service.served import Scripted, ScriptedAnswer, served

Connect = Callable[..., Any]
LEASE = timedelta(minutes=5)
AT = '"at": "2026-01-05T09:30:01+00:00"'
STREAM = {"content-type": "text/event-stream"}
BOOT_SECONDS = 60


def told(number: int, kind: str = "epoch", data: str = '"number": 1, ') -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {{{data}{AT}}}\n\n".encode()


LAST = told(3, "experiment", '"status": "succeeded", ')
WHOLE = b"retry: 10\n\n" + told(1) + b": still here\r\n\r\n" + told(2).replace(b"\n", b"\r\n") + LAST


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 21, 34])
def test_events_are_the_same_however_the_bytes_are_cut(connect: Connect, size: int) -> None:
    with served(Scripted([ScriptedAnswer(body=WHOLE, headers=STREAM, piece_bytes=size)])) as url:
        events = list(connect(url).watch("exp_1"))

    assert [event.number for event in events] == [1, 2, 3]
    assert [event.is_last for event in events] == [False, False, True]


def test_several_lines_of_data_are_one_value(connect: Connect) -> None:
    trial = f'id: 2\nevent: trial\ndata: {{"status":\ndata: "running", {AT}}}\n\n'.encode()

    with served(Scripted([ScriptedAnswer(body=trial + LAST, headers=STREAM)])) as url:
        event = next(iter(connect(url).watch("exp_1")))

    assert event.data["status"] == "running"


def test_stream_goes_on_after_the_last_whole_event(connect: Connect) -> None:
    script = Scripted(
        [
            ScriptedAnswer(body=b"retry: 10\n\n" + told(1) + told(2)[:20], headers=STREAM, breaks=True),
            ScriptedAnswer(502),
            ScriptedAnswer(body=told(2), headers=STREAM),
            ScriptedAnswer(body=LAST, headers=STREAM),
        ]
    )

    with served(script) as url:
        events = list(connect(url).watch("exp_1"))

    assert [event.number for event in events] == [1, 2, 3]
    assert [asked["last-event-id"] for asked in script.asked] == ["0", "1", "1", "2"]


def test_ended_experiment_whose_events_were_all_seen_has_no_more(connect: Connect) -> None:
    script = Scripted([ScriptedAnswer(204)])

    with served(script) as url:
        assert list(connect(url).watch("exp_1", after=9)) == []

    assert script.asked[0]["last-event-id"] == "9"


def test_unknown_experiment_is_refused_at_once(connect: Connect) -> None:
    script = Scripted(
        [ScriptedAnswer(404, {"title": "none", "detail": "none"}, {"content-type": "application/problem+json"})]
    )

    with served(script) as url, pytest.raises(Refused):
        list(connect(url).watch("exp_1"))

    assert len(script.asked) == 1


def test_server_that_stays_away_is_given_up_in_the_end(connect: Connect) -> None:
    client = connect(f"http://127.0.0.1:{probes.free()}", retries=Retries(first_seconds=0.01, patience_seconds=0.2))

    with pytest.raises(ServerUnreachable):
        list(client.watch("exp_1"))


@pytest.fixture
def claim(database: Database) -> Claim:
    return claimed_trial(database, LEASE)


def report_epochs(database: Database, claim: Claim, numbers: range) -> None:
    for number in numbers:
        with database.write() as session:
            runs.heartbeat(session, claim, LEASE, [an_epoch(number)])


def test_killed_and_restarted_server_loses_and_repeats_no_event(
    connect: Connect, settings: Settings, database: Database, claim: Claim
) -> None:
    port = probes.free()
    client = connect(f"http://127.0.0.1:{port}")
    events: list[Event] = []
    watching = threading.Thread(target=lambda: events.extend(client.watch(claim.experiment_id)), daemon=True)

    with web_server(settings, port):
        watching.start()
        report_epochs(database, claim, range(1, 20))
        deadline = time.monotonic() + BOOT_SECONDS
        while len(events) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert len(events) >= 5
    report_epochs(database, claim, range(20, 40))
    with web_server(settings, port):
        report_epochs(database, claim, range(40, 60))
        with database.write() as session:
            runs.fail_trial(session, claim, {"kind": "X", "message": "x"}, retry=False, max_attempts=1)
            runs.fail_experiment(session, claim.experiment_id, {"kind": "X", "message": "x"})
        watching.join(30)

    assert not watching.is_alive()
    assert [event.number for event in events] == list(range(1, 4 + 59 + 3))
    assert [event.data["number"] for event in events if event.kind == "epoch"] == list(range(1, 60))
    assert events[-1].is_last


@contextmanager
def web_server(settings: Settings, port: int) -> Iterator[None]:
    """The product's own web process, killed at the end as a machine without power would be."""
    ours = {"database_url", "broker_url", "store_url", "cache_root"}
    chosen = {f"DERMATRIAGE_{name.upper()}": str(value) for name, value in settings.model_dump(include=ours).items()}
    environment = {**os.environ, **chosen, "DERMATRIAGE_PORT": str(port)}
    repository = Path(__file__).parents[2]
    server = subprocess.Popen(
        [sys.executable, "-m", "service.web"], env=environment, cwd=repository, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/healthz")
        yield
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


def wait_for(url: str) -> None:
    deadline = time.monotonic() + BOOT_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(url, timeout=2, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    pytest.fail(f"{url} did not answer within {BOOT_SECONDS} s")
