"""Experiments and trials as workers record them, written straight into the database."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from dermatriage_client import examples
from models_store import runs
from models_store.database import Database
from models_store.runs import Claim
from models_store.runs.journal import add_event
from models_store.tables import Experiment, Model, PredictionRow, Trial
from tests.queued_experiment import queue_trials

GUARANTEE: dict[str, Any] = {
    "holds": True,
    "kind": "confidence",
    "target_recall": 0.9,
    "confidence": 0.95,
    "positives": 100,
    "allowed_misses": 4,
    "seen_misses": 4,
    "sentence": "With 95 % confidence, at least 90 % are called malignant.",
}
FIGURES: dict[str, Any] = {
    "recall": 0.91,
    "specificity": 0.7,
    "precision": 0.4,
    "f1": 0.5,
    "f2": 0.6,
    "roc_auc": 0.88,
    "pr_auc": None,
    "confusion": {"tn": 70, "fp": 30, "fn": 9, "tp": 91},
    "intervals": {"recall": {"low": 0.85, "high": 0.95}, "pr_auc": None},
    "images": 200,
    "leaking_images": 70,
}


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
        add_event(session, experiment_id, "experiment", {"status": status})


def fail_trial(database: Database, experiment_id: str) -> None:
    """The first trial of an experiment, collapsed."""
    with database.write() as session:
        trial = session.scalars(select(Trial).where(Trial.experiment_id == experiment_id)).first()
        assert trial is not None
        trial.status, trial.finished_at = "collapsed", datetime.now(UTC)
        trial.error = {"kind": "collapsed", "message": "no epoch was eligible"}


def succeed_experiment(database: Database, experiment_id: str) -> None:
    """Its result, and the model mdl_1 with the figures of its test set."""
    with database.write() as session:
        trial = session.scalars(select(Trial).where(Trial.experiment_id == experiment_id)).first()
        assert trial is not None
        session.add(
            Model(
                version="mdl_1",
                experiment_id=experiment_id,
                trial_id=trial.id,
                winner="CNN_v1/LowLR",
                architecture="CNN_v1",
                dataset="synthetic",
                dataset_sha256="0" * 64,
                synthetic=True,
                weights="none",
                store_key="models/mdl_1",
                bundle_sha256="1" * 64,
                manifest_sha256="2" * 64,
                threshold=0.31,
                calibration={"guarantee": GUARANTEE},
                metrics=FIGURES,
                created_at=datetime.now(UTC),
            )
        )
    result = {"winner": "CNN_v1/LowLR", "model_version": "mdl_1", "threshold": 0.31, "guarantee": GUARANTEE}
    result["promotion"] = examples.PROMOTION
    end_experiment(database, experiment_id, "succeeded", result=result)


def store_predictions(database: Database, versions: Sequence[str], began: datetime) -> None:
    """Six predictions, prd_0 to prd_5, a minute apart, by turns of these models; the last two are malignant."""
    with database.write() as session:
        for number in range(6):
            session.add(
                PredictionRow(
                    id=f"prd_{number}",
                    created_at=began + timedelta(minutes=number),
                    model_version=versions[number % len(versions)],
                    dataset="dermamnist",
                    threshold=0.5,
                    probability=0.9 if number >= 4 else 0.1,
                    label="malignant" if number >= 4 else "benign",
                    image_sha256="0" * 64,
                    image_stored=False,
                    warnings=["enlarged"],
                )
            )
