"""A worker records messages at once, reads one row otherwise, and stops a trial whose lease it cannot renew."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import NoReturn

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models_store import runs
from models_store.contract.outcomes import ResumePoint, Started
from models_store.runs import Claim
from models_store.tables import EpochRow, Trial
from tests.queued_experiment import an_epoch
from tests.workers.conftest import ScriptedWorker
from workers.worker.watch import Watch


class Clock:
    """A monotonic clock that a test sets."""

    def __init__(self) -> None:
        self.moment = 1000.0

    def monotonic(self) -> float:
        return self.moment


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("workers.worker.watch.time", clock)
    return clock


@pytest.fixture
def claim(scripted: ScriptedWorker) -> Claim:
    scripted.submit(architectures=["CNN_v1"])
    with scripted.database.write() as session:
        found = runs.claim_next(session, ["cpu"], "here:1", timedelta(minutes=1))
    assert found is not None
    return found


@contextmanager
def away() -> Iterator[Session]:
    raise OperationalError("SELECT 1", {}, Exception("the database is away"))
    yield


def take_away(scripted: ScriptedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripted.database, "write", away)
    monkeypatch.setattr(scripted.database, "read", away)


def test_quiet_trial_writes_only_when_its_lease_wants_renewing(
    scripted: ScriptedWorker, claim: Claim, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(scripted.worker, claim)

    def write() -> NoReturn:
        raise AssertionError("it wrote")

    with monkeypatch.context() as patch:
        patch.setattr(scripted.database, "write", write)
        assert watch([]) == "ours"
        clock.moment += scripted.worker.settings.lease_seconds / 4
        with pytest.raises(AssertionError, match="it wrote"):
            watch([])
    assert watch([]) == "ours"


def test_epochs_survive_a_database_that_is_away_for_less_than_the_lease(
    scripted: ScriptedWorker, claim: Claim, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(scripted.worker, claim)
    with monkeypatch.context() as patch:
        take_away(scripted, patch)
        for number in (1, 2):
            clock.moment += 1
            assert watch([an_epoch(number)]) == "ours"
    assert watch([]) == "ours"
    with scripted.database.read() as session:
        assert list(session.scalars(select(EpochRow.number).order_by(EpochRow.number))) == [1, 2]


@pytest.mark.parametrize("jump", [4, 3600])
def test_worker_that_cannot_renew_its_lease_stops_the_trial(
    scripted: ScriptedWorker, claim: Claim, clock: Clock, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    watch = Watch(scripted.worker, claim)
    take_away(scripted, monkeypatch)
    clock.moment += jump
    assert watch([]) == "lost"


def test_cancelled_trial_is_seen_without_waiting_for_a_heartbeat(scripted: ScriptedWorker, claim: Claim) -> None:
    watch = Watch(scripted.worker, claim)
    with scripted.database.write() as session:
        runs.cancel(session, claim.experiment_id)
    assert watch([]) == "cancelling"


def test_resumed_trial_reports_its_epochs_again(scripted: ScriptedWorker, claim: Claim) -> None:
    Watch(scripted.worker, claim)([an_epoch(1), an_epoch(2)])
    Watch(scripted.worker, claim)([Started(), an_epoch(1)])
    with scripted.database.read() as session:
        assert list(session.scalars(select(EpochRow.number))) == [1]
        assert session.get_one(Trial, claim.trial_id).epochs_done == 1


def test_superseded_resume_point_leaves_the_store(scripted: ScriptedWorker, claim: Claim) -> None:
    watch, storage = Watch(scripted.worker, claim), scripted.worker.storage
    for name in ("first", "second"):
        (scripted.script.parent / name).write_text(name)
        storage.put_file(scripted.script.parent / name, f"resume/{claim.trial_id}/{name}.tar")
        watch([ResumePoint(key=f"resume/{claim.trial_id}/{name}.tar", sha256="0", epochs=1)])
    assert storage.keys("resume") == [f"resume/{claim.trial_id}/second.tar"]
