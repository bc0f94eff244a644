"""The sweeper makes good what was lost, from rows alone."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from redis import Redis
from sqlalchemy import update

from models_store import runs
from models_store.database import now
from models_store.tables import Experiment, Trial
from tests.workers.conftest import SPEC, Stage
from workers.app import Worker
from workers.sweeper import Sweeper, wake_for_what_waits


@pytest.fixture
def messages(stage: Stage) -> Iterator[Redis]:
    redis = Redis.from_url(stage.worker.settings.broker_url)
    redis.delete("cpu", "gpu")
    yield redis
    redis.close()


@pytest.fixture
def sweeper(stage: Stage) -> Sweeper:
    """One that has known the database for long enough to judge."""
    sweeper = Sweeper(stage.worker)
    sweeper._database_answers_since = 0.0
    return sweeper


def claim(stage: Stage, lease: timedelta = timedelta(minutes=1)) -> runs.Claim:
    with stage.database.write() as session:
        found = runs.claim_next(session, ["cpu"], "gone:1", lease)
    assert found is not None
    return found


def test_experiment_nobody_was_told_of_is_begun(stage: Stage, sweeper: Sweeper, messages: Redis) -> None:
    from models_store.specs import ExperimentSpec

    with stage.database.write() as session:
        experiment_id = runs.submit(session, ExperimentSpec.model_validate(SPEC).model_dump(mode="json")).id
    sweeper.sweep()
    assert stage.experiment(experiment_id).phase == 1
    assert messages.llen("cpu") == 2


def test_phase_whose_last_worker_died_before_opening_the_next_is_opened(stage: Stage, sweeper: Sweeper) -> None:
    stage.direct(every={"end": "collapsed"})
    experiment_id = stage.submit()
    with stage.database.write() as session:
        session.execute(update(Trial).values(status="collapsed"))
    sweeper.sweep()
    assert stage.experiment(experiment_id).status == "failed"


def test_lost_wake_up_calls_are_sent_again_and_no_more_than_are_missing(
    stage: Stage, sweeper: Sweeper, messages: Redis
) -> None:
    stage.submit()
    messages.flushall()
    for _ in range(3):
        sweeper.sweep()
    assert messages.llen("cpu") == 2


def test_silent_workers_trial_is_taken_back(stage: Stage, sweeper: Sweeper) -> None:
    experiment_id = stage.submit(architectures=["CNN_v1"])
    claim(stage, lease=timedelta(seconds=-1))
    sweeper.sweep()
    trial = stage.trials(experiment_id)["CNN_v1/W3"]
    assert (trial.status, trial.attempts) == ("queued", 1)


def test_nothing_is_taken_back_until_workers_could_renew_their_leases(stage: Stage) -> None:
    # Given leases that ran out while the database was away
    experiment_id = stage.submit(architectures=["CNN_v1"])
    claim(stage, lease=timedelta(seconds=-1))
    sweeper = Sweeper(stage.worker)
    sweeper.sweep()
    assert stage.statuses(experiment_id)["CNN_v1/W3"] == "running"

    # When workers had their chance and did not take it
    assert sweeper._database_answers_since is not None
    sweeper._database_answers_since -= stage.worker.settings.lease_seconds
    sweeper.sweep()
    assert stage.statuses(experiment_id)["CNN_v1/W3"] == "queued"


def test_cancelled_trial_of_a_silent_worker_ends(stage: Stage, sweeper: Sweeper) -> None:
    experiment_id = stage.submit(architectures=["CNN_v1"])
    claim(stage, lease=timedelta(seconds=-1))
    with stage.database.write() as session:
        assert runs.cancel(session, experiment_id).status == "cancelling"
    sweeper.sweep()
    assert stage.experiment(experiment_id).status == "cancelled"


def test_experiment_over_its_time_is_stopped_and_failed(stage: Stage, sweeper: Sweeper) -> None:
    experiment_id = stage.submit(limits={"experiment_minutes": 1})
    with stage.database.write() as session:
        session.execute(update(Experiment).values(started_at=now(session) - timedelta(minutes=2)))
    sweeper.sweep()
    ended = stage.experiment(experiment_id)
    assert (ended.status, ended.error and ended.error["kind"]) == ("failed", "TimeLimitExceeded")


def test_sweep_survives_a_broker_that_is_away(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    settings = stage.worker.settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    stage.submit()
    Sweeper(Worker(settings, stage.database, stage.worker.storage, stage.worker.celery)).sweep()
    assert "the broker did not answer" in caplog.text


def test_clock_that_jumps_an_hour_costs_an_attempt_and_nothing_else(
    stage: Stage, sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a live lease that a jump of the clock ends
    experiment_id = stage.submit(architectures=["CNN_v1"], strategies=[])
    jumped = claim(stage)
    with monkeypatch.context() as patch:
        patch.setattr(runs.sweeping, "now", lambda session: now(session) + timedelta(hours=1))
        sweeper.sweep()

    # When its worker reports, it is told that the trial is another's
    with stage.database.write() as session:
        assert runs.heartbeat(session, jumped, timedelta(minutes=1)) == "lost"

    # Then the next attempt ends the study as usual
    stage.run_all()
    assert stage.experiment(experiment_id).status == "succeeded"
    assert stage.trials(experiment_id)["CNN_v1/W3"].attempts == 2


def test_running_trials_ask_for_no_wake_up(stage: Stage, messages: Redis) -> None:
    stage.submit(architectures=["CNN_v1"])
    claim(stage)
    messages.delete("cpu")
    wake_for_what_waits(stage.worker)
    assert messages.llen("cpu") == 0
