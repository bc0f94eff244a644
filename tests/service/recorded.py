"""Experiments and trials as workers record them, written straight into the database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from models_store import runs
from models_store.database import Database
from models_store.runs import Claim
from models_store.tables import Experiment, Trial
from tests.queued_experiment import queue_trials


def claimed_trial(database: Database, lease: timedelta) -> Claim:
    """The one trial of a new experiment, running: four events into it: queued, phase, running, trial running."""
    with database.write() as session:
        queue_trials(session, "a", strategies=[])
        claim = runs.claim_next(session, ["cpu"], "worker", lease)
    assert claim is not None
    return claim


def end_experiment(database: Database, experiment_id: str, status: str, **values: Any) -> None:
    with database.write() as session:
        experiment = session.get_one(Experiment, experiment_id)
        experiment.status = status
        experiment.finished_at = datetime.now(UTC)
        for name, value in values.items():
            setattr(experiment, name, value)


def add_failed_trial(database: Database, experiment_id: str) -> None:
    with database.write() as session:
        session.add(
            Trial(
                experiment_id=experiment_id,
                phase=1,
                position=0,
                name="CNN_v1/W3",
                kind="train",
                queue="cpu",
                priority=5,
                spec={},
                status="collapsed",
                error={"kind": "collapsed", "message": "no epoch was eligible"},
                created_at=datetime.now(UTC),
                finished_at=datetime.now(UTC),
            )
        )
