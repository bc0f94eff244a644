"""Claims, leases, fencing, cancellation and progress, on both databases."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models_store import runs
from models_store.contract.outcomes import Collapsed
from models_store.database import Database, now
from models_store.runs import Claim, LeaseLost
from models_store.tables import EpochRow, Event, Experiment, Trial
from tests.queued_experiment import a_training, an_epoch, queue_trials

pytestmark = pytest.mark.both_databases

SPEC: dict[str, Any] = {
    "dataset": "synthetic",
    "architectures": ["CNN_v1", "CNN_v2"],
    "strategies": ["LowLR"],
    "epochs": 4,
}
LEASE = timedelta(minutes=1)
HAMMER = """
import sys
from datetime import timedelta
from models_store import runs
from models_store.database import Database
database = Database(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
while True:
    with database.write() as session:
        claim = runs.claim_next(session, ["cpu"], sys.argv[2], timedelta(minutes=1))
    if claim is None:
        break
    print(claim.trial_id, claim.fence)
"""


def running(database: Database, *names: str, **changes: Any) -> str:
    """An experiment in its first phase, with one queued trial a name."""
    with database.write() as session:
        return queue_trials(session, *names, **(SPEC | changes)).id


def claim(database: Database, *queues: str, worker: str = "w") -> Claim | None:
    with database.write() as session:
        return runs.claim_next(session, queues or ("cpu",), worker, LEASE)


def claimed(database: Database, worker: str = "w") -> Claim:
    found = claim(database, worker=worker)
    assert found is not None
    return found


def expire_leases(database: Database) -> None:
    with database.write() as session:
        session.execute(update(Trial).values(lease_expires_at=now(session) - timedelta(seconds=1)))


def state(database: Database, trial_id: str) -> tuple[str, int]:
    with database.read() as session:
        trial = session.get_one(Trial, trial_id)
        return trial.status, trial.attempts


def experiment_status(database: Database, experiment_id: str) -> str:
    with database.read() as session:
        return session.get_one(Experiment, experiment_id).status


def test_claimed_trial_is_never_claimed_again(database: Database) -> None:
    running(database, "a")
    assert claim(database) is not None
    assert claim(database) is None


def test_most_urgent_then_oldest_trial_is_claimed_first(database: Database) -> None:
    patient = running(database, "a", "b", priority=2)
    urgent = running(database, "c", priority=9)
    assert [claimed(database).experiment_id for _ in range(3)] == [urgent, patient, patient]


def test_later_phases_of_an_older_experiment_go_before_a_newer_one(database: Database) -> None:
    old, new = running(database, "a"), running(database, "b")
    first = claimed(database)
    with database.write() as session:
        phase_2 = {"phase": 2, "position": 0, "name": "a/LowLR", "kind": "train", "queue": "cpu", "spec": {}}
        session.add(Trial(experiment_id=old, created_at=now(session), **phase_2))
    assert [first.experiment_id, *(claimed(database).experiment_id for _ in range(2))] == [old, old, new]


def test_trial_is_claimed_only_from_its_queue(database: Database) -> None:
    running(database, "a", queue="gpu")
    assert claim(database, "cpu") is None
    assert claim(database, "cpu", "gpu") is not None


def test_no_trial_is_claimed_twice_in_a_thousand_claims_by_two_processes(database: Database) -> None:
    for _ in range(4):
        running(database, *(f"trial-{number}" for number in range(250)))
    root = Path(__file__).resolve().parents[2]
    hammers = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMER, database.url, f"w{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        for number in range(2)
    ]
    for hammer in hammers:
        assert hammer.stdout is not None
        assert hammer.stdout.readline() == "ready\n"
    for hammer in hammers:  # at once, so that neither has claimed every trial before the other has started
        assert hammer.stdin is not None
        hammer.stdin.write("\n")
        hammer.stdin.flush()
    claims = [hammer.communicate(timeout=120)[0].splitlines() for hammer in hammers]
    assert [hammer.returncode for hammer in hammers] == [0, 0]
    assert len(claims[0]) + len(claims[1]) == 1000
    assert Counter(claims[0] + claims[1]).most_common(1)[0][1] == 1
    assert all(claims), "both processes have to take part"


def test_queued_trial_of_a_cancelled_experiment_is_never_claimed(database: Database) -> None:
    experiment_id = running(database, "a")
    with database.write() as session:
        assert runs.cancel(session, experiment_id).status == "cancelled"
    assert claim(database) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda session, stale: runs.finish_trial(session, stale, a_training()),
        lambda session, stale: runs.fail_trial(session, stale, {"kind": "X"}, retry=True, max_attempts=3),
        lambda session, stale: runs.release(session, stale),
        lambda session, stale: runs.confirm_cancelled(session, stale),
        lambda session, stale: runs.delete_epochs(session, stale),
    ],
    ids=["finish", "fail", "release", "confirm", "forget"],
)
def test_worker_that_lost_its_lease_writes_nothing(database: Database, write: Callable[[Session, Claim], None]) -> None:
    running(database, "a")
    stale = claimed(database, "slow")
    expire_leases(database)
    with database.write() as session:
        assert reclaim(session) == 1
    fresh = claimed(database, "fast")
    assert fresh.fence > stale.fence
    with database.write() as session:
        runs.heartbeat(session, fresh, LEASE, [an_epoch(1)])
    with pytest.raises(LeaseLost), database.write() as session:
        write(session, stale)
    with database.write() as session:
        assert runs.heartbeat(session, stale, LEASE, [an_epoch(1), an_epoch(2)]) == "lost"
        assert runs.heartbeat(session, fresh, LEASE) == "ours"
    with database.read() as session:
        trial = session.get_one(Trial, fresh.trial_id)
        assert (trial.status, trial.worker, trial.epochs_done) == ("running", "fast", 1)
        assert session.scalar(select(func.count()).select_from(EpochRow)) == 1


def reclaim(session: Session) -> int:
    found = runs.with_expired_leases(session)
    return sum(len(runs.reclaim_expired(session, experiment_id, max_attempts=3)) for experiment_id in found)


def test_expired_lease_puts_the_trial_back_until_no_attempt_is_left(database: Database) -> None:
    running(database, "a")
    for attempt, status in ((1, "queued"), (2, "queued"), (3, "failed")):
        lost = claimed(database)
        assert lost.attempt == attempt
        expire_leases(database)
        with database.write() as session:
            assert reclaim(session) == 1
        assert state(database, lost.trial_id) == (status, attempt)
    assert claim(database) is None
    with database.read() as session:
        error = session.get_one(Trial, lost.trial_id).error
        assert error is not None
        assert error["kind"] == "WorkerLost"


def test_live_lease_is_left_alone(database: Database) -> None:
    running(database, "a")
    ours = claimed(database)
    expire_leases(database)
    with database.write() as session:
        runs.heartbeat(session, ours, LEASE)
    with database.write() as session:
        assert reclaim(session) == 0
    assert state(database, ours.trial_id) == ("running", 1)


def test_release_by_a_stopping_worker_counts_no_attempt(database: Database) -> None:
    running(database, "a")
    with database.write() as session:
        runs.release(session, claimed_in(session))
    again = claimed(database)
    assert (again.attempt, again.fence) == (1, 2)


def claimed_in(session: Session) -> Claim:
    found = runs.claim_next(session, ["cpu"], "w", LEASE)
    assert found is not None
    return found


def test_error_of_the_spec_is_not_retried(database: Database) -> None:
    running(database, "a")
    ours = claimed(database)
    with database.write() as session:
        runs.fail_trial(session, ours, {"kind": "NoWeights"}, retry=False, max_attempts=3)
    assert state(database, ours.trial_id) == ("failed", 1)


def test_running_trial_is_cancelled_only_once_its_process_is_gone(database: Database) -> None:
    experiment_id = running(database, "a", "b")
    ours = claimed(database)
    with database.write() as session:
        assert runs.cancel(session, experiment_id).status == "cancelling"
    assert claim(database) is None
    with database.write() as session:
        assert runs.heartbeat(session, ours, LEASE) == "cancelling"
        runs.confirm_cancelled(session, ours)
    assert state(database, ours.trial_id)[0] == "cancelled"
    assert experiment_status(database, experiment_id) == "cancelled"


@pytest.mark.parametrize("ending", ["finish", "retry", "release", "silence"])
def test_cancelling_experiment_ends_however_its_last_trial_ends(database: Database, ending: str) -> None:
    experiment_id = running(database, "a")
    ours = claimed(database)
    with database.write() as session:
        runs.cancel(session, experiment_id)
    if ending == "silence":
        expire_leases(database)
    with database.write() as session:
        match ending:
            case "finish":
                runs.finish_trial(session, ours, a_training())
            case "retry":
                runs.fail_trial(session, ours, {"kind": "TrialCrashed"}, retry=True, max_attempts=3)
            case "release":
                runs.release(session, ours)
            case _:
                reclaim(session)
    assert experiment_status(database, experiment_id) == "cancelled"
    assert claim(database) is None


def test_finished_experiment_cannot_be_cancelled_nor_cancelled_one_finished(database: Database) -> None:
    done, dropped = running(database), running(database)
    with database.write() as session:
        assert runs.finish_experiment(session, done, {"winner": "a"})
        assert runs.cancel(session, done).status == "succeeded"
        assert runs.cancel(session, dropped).status == "cancelled"
        assert not runs.finish_experiment(session, dropped, {"winner": "a"})
        assert not runs.fail_experiment(session, dropped, {"kind": "X"})
    with database.read() as session:
        assert session.get_one(Experiment, dropped).result is None


def test_progress_counts_epochs_and_never_moves_back(database: Database) -> None:
    experiment_id = running(database, "a", "b")
    ours = claimed(database)
    seen = []

    def check() -> None:
        with database.read() as session:
            seen.append(session.get_one(Experiment, experiment_id).progress)

    for number in (1, 2, 3):
        with database.write() as session:
            runs.heartbeat(session, ours, LEASE, [an_epoch(number)])
        check()
    with database.write() as session:
        runs.fail_trial(session, ours, {"kind": "TrialCrashed"}, retry=True, max_attempts=3)
    again = claimed(database)
    with database.write() as session:
        runs.delete_epochs(session, again)
        runs.heartbeat(session, again, LEASE, [an_epoch(1)])
    check()
    with database.write() as session:
        runs.finish_trial(session, again, Collapsed(reason="no eligible epoch", environment={}))
    check()
    assert seen == pytest.approx([0.25 / 4, 0.5 / 4, 0.75 / 4, 0.75 / 4, 1 / 4])


def test_epoch_reported_twice_is_stored_once(database: Database) -> None:
    running(database, "a")
    ours = claimed(database)
    for _ in range(2):
        with database.write() as session:
            runs.heartbeat(session, ours, LEASE, [an_epoch(1), an_epoch(2)])
    with database.read() as session:
        assert session.scalars(select(EpochRow.number).order_by(EpochRow.number)).all() == [1, 2]


def test_events_are_numbered_without_gaps_by_many_writers(database: Database) -> None:
    experiment_id = running(database, *(f"t{number}" for number in range(12)))

    def work(worker: int) -> None:
        while (ours := claim(database, worker=f"w{worker}")) is not None:
            with database.write() as session:
                runs.heartbeat(session, ours, LEASE, [an_epoch(1)])
            with database.write() as session:
                runs.finish_trial(session, ours, a_training())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with database.read() as session:
        numbers = session.scalars(select(Event.number).where(Event.experiment_id == experiment_id)).all()
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    assert len(numbers) == 3 + 12 * 3


def test_cancelling_while_many_trials_report_neither_deadlocks_nor_leaves_one_behind(database: Database) -> None:
    experiment_id = running(database, *(f"t{number}" for number in range(6)))
    ours = [claimed(database) for _ in range(6)]

    def report(mine: Claim) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with database.write() as session:
                if runs.heartbeat(session, mine, LEASE, [an_epoch(1)]) == "cancelling":
                    runs.confirm_cancelled(session, mine)
                    return "cancelled"
            time.sleep(0.001)  # SQLite's write lock is not given to the longest waiting caller
        return "never reported"

    with ThreadPoolExecutor(7) as pool:
        endings = [pool.submit(report, mine) for mine in ours]
        with database.write() as session:
            runs.cancel(session, experiment_id)
        assert {ending.result(timeout=90) for ending in endings} == {"cancelled"}
    assert experiment_status(database, experiment_id) == "cancelled"


def test_experiment_beyond_its_time_limit_is_stopped_and_fails(database: Database) -> None:
    experiment_id = running(database, "a", limits={"experiment_minutes": 5})
    claimed(database)
    expire_leases(database)
    with database.write() as session:
        session.execute(update(Experiment).values(started_at=now(session) - timedelta(minutes=6)))
    with database.write() as session:
        assert runs.with_time_limit(session) == [experiment_id]
        assert runs.stop_overdue(session, experiment_id)
        reclaim(session)
    with database.read() as session:
        stopped = session.get_one(Experiment, experiment_id)
        assert (stopped.status, (stopped.error or {})["kind"]) == ("failed", "TimeLimitExceeded")


def test_experiment_without_a_time_limit_is_never_checked_for_one(database: Database) -> None:
    running(database, "a")
    with database.read() as session:
        assert runs.with_time_limit(session) == []


def test_time_limit_beyond_any_date_is_never_reached(database: Database) -> None:
    experiment_id = running(database, "a", limits={"experiment_minutes": 5})
    claimed(database)
    expire_leases(database)
    with database.write() as session:
        experiment = session.get_one(Experiment, experiment_id)
        experiment.spec = experiment.spec | {"limits": {"experiment_minutes": 1e300}}
    with database.write() as session:
        assert not runs.stop_overdue(session, experiment_id)
