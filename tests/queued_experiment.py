"""A submitted experiment whose trials have names of the test's choice, so that a test need not know the catalogue."""

from typing import Any

from sqlalchemy import delete
from sqlalchemy.orm import Session

from models_store import runs
from models_store.contract.outcomes import Epoch, StoredFile, Trained
from models_store.contract.specs import ExperimentSpec
from models_store.tables import Experiment, Trial

SMALL: dict[str, Any] = {"dataset": "synthetic", "architectures": ["CNN_v1"], "strategies": ["LowLR"], "epochs": 4}


def queue_trials(session: Session, *names: str, queue: str = "cpu", **spec: Any) -> Experiment:
    """Submits an experiment and puts one queued trial a name in place of those it was planned with."""
    experiment = runs.submit(session, ExperimentSpec.model_validate(SMALL | spec))
    session.execute(delete(Trial).where(Trial.experiment_id == experiment.id))
    session.add_all(
        Trial(
            experiment_id=experiment.id,
            phase=1,
            position=position,
            name=name,
            kind="train",
            queue=queue,
            spec={},
            created_at=experiment.created_at,
        )
        for position, name in enumerate(names)
    )
    session.flush()
    return experiment


def an_epoch(number: int, recall: float = 0.5, *, best: bool = False) -> Epoch:
    return Epoch(number=number, metrics={"val_recall": recall}, seconds=1.0, eligible=True, best=best)


def a_training(best_epoch: int = 1, recall: float = 0.5) -> Trained:
    return Trained(
        best_epoch=best_epoch,
        metrics={"val_recall": recall},
        checkpoint=StoredFile(key="trials/a/1/best.keras", sha256="0" * 64),
        environment={},
    )
