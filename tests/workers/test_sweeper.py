"""The sweeper repairs what was interrupted, from rows alone."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from models_store import broker, runs
from models_store.database import now
from models_store.tables import Experiment, Trial
from tests.workers.conftest import ScriptedWorker
from workers.sweeper import Sweeper, send_missing_wake_ups
from workers.worker.context import Worker


@pytest.fixture
def messages(scripted: ScriptedWorker) -> Iterator[Redis]:
    redis = Redis.from_url(scripted.worker.settings.broker_url)
    redis.delete("cpu", "gpu")
    yield redis
    redis.close()


@pytest.fixture
def sweeper(scripted: ScriptedWorker) -> Sweeper:
    """A sweeper that has given workers time to renew their leases."""
    sweeper = Sweeper(scripted.worker)
    sweeper._database_answers_since = 0.0
    return sweeper


def claim(scripted: ScriptedWorker, lease: timedelta = timedelta(minutes=1)) -> runs.Claim:
    with scripted.database.write() as session:
        found = runs.claim_next(session, ["cpu"], "gone:1", lease)
    assert found is not None
    return found


def queued_by_an_earlier_version(scripted: ScriptedWorker) -> str:
    """An experiment without trials: earlier versions left it to a worker to plan them."""
    experiment_id = scripted.submit()
    with scripted.database.write() as session:
        session.execute(delete(Trial))
    return experiment_id


def test_experiment_queued_by_an_earlier_version_is_planned(
    scripted: ScriptedWorker, sweeper: Sweeper, messages: Redis
) -> None:
    experiment_id = queued_by_an_earlier_version(scripted)
    sweeper.sweep()
    assert scripted.statuses(experiment_id) == {"CNN_v1/W3": "queued", "CNN_v2/W3": "queued"}
    assert scripted.experiment(experiment_id).status == "queued"
    assert messages.llen("cpu") == 2


def test_phase_whose_last_worker_died_before_opening_the_next_is_opened(
    scripted: ScriptedWorker, sweeper: Sweeper
) -> None:
    scripted.set_script(every={"end": "collapsed"})
    experiment_id = scripted.submit()
    with scripted.database.write() as session:
        session.execute(update(Trial).values(status="collapsed"))
    sweeper.sweep()
    assert scripted.experiment(experiment_id).status == "failed"


def test_lost_wake_up_calls_are_sent_again_and_no_more_than_are_missing(
    scripted: ScriptedWorker, sweeper: Sweeper, messages: Redis
) -> None:
    scripted.submit()
    messages.flushall()
    for _ in range(3):
        sweeper.sweep()
    assert messages.llen("cpu") == 2


def test_trial_of_a_lost_worker_is_reclaimed(scripted: ScriptedWorker, sweeper: Sweeper) -> None:
    experiment_id = scripted.submit(architectures=["CNN_v1"])
    claim(scripted, lease=timedelta(seconds=-1))
    sweeper.sweep()
    trial = scripted.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.status, trial.attempts) == ("queued", 1)


def test_nothing_is_reclaimed_until_workers_could_renew_their_leases(scripted: ScriptedWorker) -> None:
    # Given leases that ran out while the database was away
    experiment_id = scripted.submit(architectures=["CNN_v1"])
    claim(scripted, lease=timedelta(seconds=-1))
    sweeper = Sweeper(scripted.worker)
    sweeper.sweep()
    assert scripted.statuses(experiment_id)["CNN_v1/W3"] == "running"

    # When workers had the time to renew them and did not
    assert sweeper._database_answers_since is not None
    sweeper._database_answers_since -= scripted.worker.settings.lease_seconds
    sweeper.sweep()
    assert scripted.statuses(experiment_id)["CNN_v1/W3"] == "queued"


def test_cancelled_trial_of_a_lost_worker_ends(scripted: ScriptedWorker, sweeper: Sweeper) -> None:
    experiment_id = scripted.submit(architectures=["CNN_v1"])
    claim(scripted, lease=timedelta(seconds=-1))
    with scripted.database.write() as session:
        assert runs.cancel(session, experiment_id).status == "cancelling"
    sweeper.sweep()
    assert scripted.experiment(experiment_id).status == "cancelled"


def test_experiment_over_its_time_is_stopped_and_failed(scripted: ScriptedWorker, sweeper: Sweeper) -> None:
    experiment_id = scripted.submit(limits={"experiment_minutes": 1})
    with scripted.database.write() as session:
        session.execute(update(Experiment).values(status="running", started_at=now(session) - timedelta(minutes=2)))
    sweeper.sweep()
    ended = scripted.experiment(experiment_id)
    assert (ended.status, ended.error and ended.error["kind"]) == ("failed", "TimeLimitExceeded")


def test_sweep_survives_an_unreachable_broker(scripted: ScriptedWorker, caplog: pytest.LogCaptureFixture) -> None:
    settings = scripted.worker.settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    scripted.submit()
    Sweeper(Worker(settings, scripted.database, scripted.worker.storage, scripted.worker.celery)).sweep()
    assert "the broker did not answer" in caplog.text


def test_clock_that_jumps_an_hour_costs_an_attempt_and_nothing_else(
    scripted: ScriptedWorker, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a live lease that a jump of the clock ends
    experiment_id = scripted.submit(architectures=["CNN_v1"], strategies=[])
    jumped = claim(scripted)
    with monkeypatch.context() as patch:
        patch.setattr(runs.sweeping, "now", lambda session: now(session) + timedelta(hours=1))
        sweeper.sweep()

    # When its worker reports, the state of its claim is lost
    with scripted.database.write() as session:
        assert runs.heartbeat(session, jumped, timedelta(minutes=1)) == "lost"

    # Then the next attempt ends the experiment as usual
    scripted.run_all()
    assert scripted.experiment(experiment_id).status == "succeeded"
    assert scripted.trials(experiment_id)["CNN_v1/W3"].attempts == 2


def test_running_trials_ask_for_no_wake_up(scripted: ScriptedWorker, messages: Redis) -> None:
    scripted.submit(architectures=["CNN_v1"])
    claim(scripted)
    messages.delete("cpu")
    send_missing_wake_ups(scripted.worker)
    assert messages.llen("cpu") == 0


@pytest.mark.parametrize("minutes", [1e300, "soon", [5]])
def test_experiment_that_cannot_be_swept_is_logged_and_counted_and_the_others_are_swept(
    scripted: ScriptedWorker, sweeper: Sweeper, messages: Redis, caplog: pytest.LogCaptureFixture, minutes: Any
) -> None:
    # Given a row that no sweep can read, and one that is over its time
    messages.delete(broker.SWEEP_FAILURES)
    bad, overdue = (scripted.submit(limits={"experiment_minutes": 1}) for _ in range(2))
    with scripted.database.write() as session:
        session.execute(update(Experiment).values(status="running", started_at=now(session) - timedelta(minutes=2)))
        experiment = session.get_one(Experiment, bad)
        experiment.spec = experiment.spec | {"limits": {"experiment_minutes": minutes}}

    # When it is swept
    sweeper.sweep()

    # Then the other one has ended, and a limit that is no number is logged
    assert scripted.experiment(overdue).status == "failed"
    assert scripted.experiment(bad).status == "running"
    succeeds = isinstance(minutes, float)
    assert (f"experiment {bad} was skipped" in caplog.text) is not succeeds
    assert broker.sweep_failures(messages) == (0 if succeeds else 1)


def test_experiment_whose_stored_spec_cannot_be_read_ends_as_failed(scripted: ScriptedWorker, sweeper: Sweeper) -> None:
    experiment_id = queued_by_an_earlier_version(scripted)
    with scripted.database.write() as session:
        experiment = session.get_one(Experiment, experiment_id)
        experiment.spec = experiment.spec | {"epochs": "many"}
    sweeper.sweep()
    ended = scripted.experiment(experiment_id)
    assert (ended.status, ended.error and ended.error["kind"]) == ("failed", "SpecInvalid")


def test_pruning_that_fails_is_logged_and_counted(
    sweeper: Sweeper, messages: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    messages.delete(broker.SWEEP_FAILURES)
    monkeypatch.setattr("models_store.retention.pruning.prune", lambda *_: 1 / 0)
    sweeper.sweep()
    assert "the removal of old files and rows was skipped by this sweep" in caplog.text
    assert broker.sweep_failures(messages) == 1


def test_sweep_that_fails_unexpectedly_is_not_the_last(
    sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("workers.sweeper.queued_trials", lambda _session: 1 / 0)
        sweeper.sweep()
    assert "this sweep was cut short" in caplog.text


def test_two_sweepers_reclaim_each_trial_once(scripted: ScriptedWorker) -> None:
    # Given several experiments whose workers are all lost
    experiments = [scripted.submit(architectures=["CNN_v1"]) for _ in range(6)]
    for _ in experiments:
        claim(scripted, lease=timedelta(seconds=-1))

    # When two sweepers sweep at once, each experiment in a transaction of its own
    sweepers = [Sweeper(scripted.worker) for _ in range(2)]
    for sweeper in sweepers:
        sweeper._database_answers_since = 0.0
    with ThreadPoolExecutor(2) as pool:
        for swept in [pool.submit(sweeper.sweep) for sweeper in sweepers]:
            swept.result(timeout=60)

    # Then each trial is queued again, and has used one attempt
    trials = [scripted.trials(experiment_id)["CNN_v1/W3"] for experiment_id in experiments]
    assert {(trial.status, trial.attempts) for trial in trials} == {("queued", 1)}


def test_a_sweep_never_holds_the_locks_of_two_experiments(
    scripted: ScriptedWorker, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given experiments that lost a worker, are over their time, or are being cancelled
    for status in ("running", "running", "cancelling", "cancelling"):
        experiment_id = scripted.submit(architectures=["CNN_v1"], limits={"experiment_minutes": 1})
        claim(scripted, lease=timedelta(seconds=-1))
        with scripted.database.write() as session:
            session.get_one(Experiment, experiment_id).status = status
            session.execute(update(Experiment).values(status="running", started_at=now(session) - timedelta(minutes=2)))

    # When the experiments that each transaction locks are recorded
    locked: dict[int, set[str]] = {}
    sessions = []
    lock = runs.journal.lock

    def noted(session: Session, experiment_id: str) -> Experiment:
        sessions.append(session)  # kept, so that no id is used twice
        locked.setdefault(id(session), set()).add(experiment_id)
        return lock(session, experiment_id)

    for module in (runs.experiments, runs.journal, runs.sweeping, runs.trials):
        monkeypatch.setattr(module, "lock", noted)
    sweeper.sweep()

    # Then none locks two, so that no two sweepers can wait for each other
    assert len(set.union(*locked.values())) == 4
    assert {len(experiments) for experiments in locked.values()} == {1}
