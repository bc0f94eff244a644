"""Retry of a failed experiment, which keeps its finished trials."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from models_store import runs
from models_store.database import now
from models_store.runs import NotRetryable
from models_store.tables import Delivery, Experiment, TestOpening, Trial
from tests.workers.conftest import ScriptedWorker


def retry(scripted: ScriptedWorker, experiment_id: str) -> None:
    with scripted.database.write() as session:
        runs.retry(session, experiment_id)


def failed_in_the_end(scripted: ScriptedWorker, **changes: Any) -> str:
    """An experiment whose final trial failed."""
    scripted.set_script(final={"end": "refused"})
    experiment_id = scripted.submit(**changes)
    scripted.run_all()
    assert scripted.experiment(experiment_id).status == "failed"
    return experiment_id


def test_failed_trials_run_again_and_finished_ones_do_not(scripted: ScriptedWorker) -> None:
    experiment_id = failed_in_the_end(scripted)
    first = scripted.trials(experiment_id)
    scripted.set_script()

    retry(scripted, experiment_id)
    waiting = scripted.experiment(experiment_id)
    assert (waiting.status, waiting.error, waiting.started_at, waiting.finished_at) == ("queued", None, None, None)
    assert waiting.progress < 1
    assert scripted.run_all() == 1

    ended = scripted.experiment(experiment_id)
    assert (ended.status, ended.progress) == ("succeeded", 1.0)
    assert ended.started_at is not None
    assert [start["name"] for start in scripted.starts()].count("CNN_v1/W3") == 1
    assert scripted.trials(experiment_id)["CNN_v1/W3"].finished_at == first["CNN_v1/W3"].finished_at
    assert scripted.trials(experiment_id)["final"].fence == first["final"].fence + 1
    assert len(scripted.openings()) == len(scripted.models()) == 1


def test_each_end_sends_its_own_webhook_and_only_the_last_end_ends_the_events(scripted: ScriptedWorker) -> None:
    experiment_id = failed_in_the_end(scripted)
    scripted.set_script()
    retry(scripted, experiment_id)
    scripted.run_all()
    statuses = [data for kind, data in scripted.events(experiment_id) if kind == "experiment"]
    assert [(data["status"], data.get("retried")) for data in statuses] == [
        ("queued", None),
        ("running", None),
        ("failed", True),
        ("queued", None),
        ("running", None),
        ("succeeded", None),
    ]
    with scripted.database.read() as session:
        assert session.scalars(select(Delivery.status)).all() == ["succeeded"]


def test_trials_that_a_time_limit_stopped_run_again_with_a_new_limit(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit(limits={"experiment_minutes": 1})
    with scripted.database.write() as session:
        session.execute(update(Experiment).values(status="running", started_at=now(session) - timedelta(minutes=2)))
        assert runs.stop_overdue(session, experiment_id)
    assert scripted.experiment(experiment_id).status == "failed"
    retry(scripted, experiment_id)
    scripted.run_all()
    assert scripted.experiment(experiment_id).status == "succeeded"


def test_phases_that_are_decided_stay_as_they_are(scripted: ScriptedWorker) -> None:
    scripted.set_script(CNN_v2_W3={"end": "refused"}, final={"end": "refused"})
    experiment_id = scripted.submit()
    scripted.run_all()
    scripted.set_script()
    retry(scripted, experiment_id)
    scripted.run_all()
    assert scripted.statuses(experiment_id)["CNN_v2/W3"] == "failed"
    assert scripted.experiment(experiment_id).status == "succeeded"


@pytest.mark.parametrize("status", ["queued", "running", "succeeded", "cancelled"])
def test_only_a_failed_experiment_is_retried(scripted: ScriptedWorker, status: str) -> None:
    experiment_id = scripted.submit()
    with scripted.database.write() as session:
        session.execute(update(Experiment).values(status=status))
    with pytest.raises(NotRetryable, match=f"is {status}; only a failed one"):
        retry(scripted, experiment_id)


def test_experiment_whose_trials_all_collapsed_is_not_retried(scripted: ScriptedWorker) -> None:
    scripted.set_script(every={"end": "collapsed"})
    experiment_id = scripted.submit()
    scripted.run_all()
    with pytest.raises(NotRetryable, match="another selection"):
        retry(scripted, experiment_id)


def test_experiment_that_opened_its_test_set_is_not_retried(scripted: ScriptedWorker) -> None:
    experiment_id = scripted.submit()
    scripted.run_all()
    assert len(scripted.openings()) == 1
    with scripted.database.write() as session:
        assert session.get(TestOpening, experiment_id) is not None
        session.execute(update(Experiment).values(status="failed"))
    with pytest.raises(NotRetryable, match="opened its test set"):
        retry(scripted, experiment_id)


def test_experiment_whose_checkpoints_are_gone_is_not_retried(scripted: ScriptedWorker) -> None:
    experiment_id = failed_in_the_end(scripted)
    with scripted.database.write() as session:
        session.execute(update(Trial).values(checkpoint_key=None))
    with pytest.raises(NotRetryable, match="KEEP_FAILED_CHECKPOINTS_DAYS"):
        retry(scripted, experiment_id)
    assert scripted.experiment(experiment_id).status == "failed"
