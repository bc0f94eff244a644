"""Experiments and trials as workers record them, written straight into the database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from models_store import runs
from models_store.contract.specs import ExperimentSpec
from models_store.database import Database
from models_store.runs import Claim, PlannedTrial
from models_store.runs.journal import note
from models_store.tables import Experiment, Trial


def claimed_trial(database: Database, lease: timedelta) -> Claim:
    """The one trial of a new experiment, running: three events into it, queued, phase and running."""
    spec = ExperimentSpec(dataset="synthetic", architectures=("CNN_v1",), strategies=()).model_dump(mode="json")
    with database.write() as session:
        experiment = runs.submit(session, spec)
        runs.open_phase(session, experiment.id, 1, [PlannedTrial(name="a", kind="train", queue="cpu", spec={})])
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
