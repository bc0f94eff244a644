"""A phase spreads over all workers there are, and what scheduling adds to each trial is small."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import select

from models_store.contract.catalog import STUDY
from models_store.database import Database
from models_store.tables import Trial
from tests.end_to_end.stack import Stack, eventually

TRIAL_SECONDS = 1.0
WORKERS = 4

pytestmark = pytest.mark.parametrize(
    "database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)


@pytest.fixture
def stack(tmp_path: Path, database_url: str) -> Iterator[Stack]:
    stack = Stack(tmp_path, database_url)
    stack.direct(every={"epochs": 1, "seconds": TRIAL_SECONDS, "end": "collapsed"})
    yield stack
    stack.stop()


def finished_trials(stack: Stack, experiment_id: str) -> Sequence[Trial]:
    eventually(lambda: stack.read(experiment_id)["status"] == "failed", 240, "the end of the phase")
    database = Database(stack.database_url)
    with database.read() as session:
        trials = session.scalars(select(Trial).where(Trial.experiment_id == experiment_id)).all()
    database.close()
    return trials


def mean_at_work(trials: Sequence[Trial]) -> float:
    """How many workers are busy on average, from the first claim to the last end: the speed-up over one worker.

    A ratio of times taken on one machine, so that a slow or busy machine changes it little.
    """
    spans = [(trial.started_at, trial.finished_at) for trial in trials]
    known = [(begun, ended) for begun, ended in spans if begun is not None and ended is not None]
    busy = sum((ended - begun).total_seconds() for begun, ended in known)
    return busy / (max(ended for _, ended in known) - min(begun for begun, _ in known)).total_seconds()


@pytest.mark.slow
def test_phase_runs_nearly_as_many_times_faster_as_there_are_workers(stack: Stack) -> None:
    # Given the thirteen architectures, thrice, and four workers
    stack.start(WORKERS)
    spec = {"architectures": list(STUDY), "class_weights": ["W0", "W3", "W5"], "epochs": 1}

    # When the workers share them
    trials = finished_trials(stack, stack.submit(**spec))

    # Then all of them work, and hardly ever does one wait for the scheduler
    assert len(trials) == 3 * len(STUDY)
    assert len({trial.worker for trial in trials}) == WORKERS
    assert mean_at_work(trials) > 0.7 * WORKERS


@pytest.mark.slow
def test_full_worker_leaves_work_to_others(stack: Stack) -> None:
    # Given one worker whose only slot is taken for long
    stack.settings["sweep_seconds"] = "3600"
    stack.direct(every={"end": "hangs"})
    stack.start()
    stack.submit(architectures=["CNN_v1"])
    eventually(lambda: stack.running("CNN_v1/W3"))

    # When another experiment is submitted
    second = stack.submit(architectures=["CNN_v2", "CNN_v3"])

    # Then its messages stay in the queue
    with stack.redis() as redis:
        eventually(lambda: redis.llen("cpu") == 2, 10)
    assert stack.read(second)["status"] == "queued"
    assert len(stack.starts()) == 1

    # And a second worker finds them
    stack.direct(every={"end": "collapsed"})
    stack.start_process("worker1")
    eventually(lambda: stack.read(second)["status"] == "failed", 30)


@pytest.mark.slow
def test_urgent_experiment_goes_first(stack: Stack) -> None:
    # Given a busy worker and three experiments that wait for it
    stack.direct(every={"epochs": 1, "end": "collapsed"}, CNN_v1_W0={"end": "hangs"})
    stack.start()
    busy = stack.submit(architectures=["CNN_v1"], class_weights=["W0"])
    eventually(lambda: stack.running("CNN_v1/W0"))
    waiting = [stack.submit(architectures=["CNN_v1", "CNN_v2"], priority=priority) for priority in (1, 9, 5)]

    stack.cancel(busy)

    eventually(lambda: len(stack.starts()) == 7)
    low, high, middle = waiting
    assert [start["experiment_id"] for start in stack.starts()] == [busy, high, high, middle, middle, low, low]
