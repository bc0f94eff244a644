"""Experiments and trials as workers record them, written straight into the database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from models_store import runs
from models_store.database import Database
from models_store.runs import Claim
from models_store.runs.journal import note
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
        note(session, experiment_id, "experiment", {"status": status})


def fail_trial(database: Database, experiment_id: str) -> None:
    """The first trial of an experiment, collapsed."""
    with database.write() as session:
        trial = session.scalars(select(Trial).where(Trial.experiment_id == experiment_id)).first()
        assert trial is not None
        trial.status, trial.finished_at = "collapsed", datetime.now(UTC)
        trial.error = {"kind": "collapsed", "message": "no epoch was eligible"}
