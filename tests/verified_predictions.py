"""Predictions of one model with outcomes, stored as the service stores them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert, update

from models_store.database import Database
from models_store.tables import Model, OutcomeRow, PredictionRow
from tests.service.recorded import GUARANTEE

MOMENT = datetime(2026, 1, 5, 12, tzinfo=UTC)
Group = tuple[str, str | None, int]
# Of 80 malignant lesions 40 are found; every image is verified.
IN_DOUBT: tuple[Group, ...] = (
    ("malignant", "malignant", 40),
    ("benign", "malignant", 40),
    ("benign", "benign", 60),
)
# Of 80 malignant lesions 76 are found.
KEPT: tuple[Group, ...] = (("malignant", "malignant", 76), ("benign", "malignant", 4), ("benign", "benign", 60))


def promise(database: Database, version: str, **changes: Any) -> None:
    """Gives a model the guarantee of a recall of 0.90 with 95 % confidence."""
    with database.write() as session:
        changed = update(Model).where(Model.version == version)
        session.execute(changed.values(calibration={"guarantee": {**GUARANTEE, **changes}}))


def store_verified(database: Database, version: str, groups: Sequence[Group], moment: datetime = MOMENT) -> list[str]:
    """For each group of label and outcome (None: not verified) so many predictions; returns their ids in order."""
    predictions, outcomes = [], []
    for label, outcome, number in groups:
        for _ in range(number):
            prediction_id = f"prd_{moment:%Y%m}_{version[-6:]}_{len(predictions)}"
            predictions.append(_prediction(prediction_id, version, label, moment))
            if outcome is not None:
                outcomes.append(_outcome(prediction_id, outcome, moment))
    with database.write() as session:
        session.execute(insert(PredictionRow), predictions)
        if outcomes:
            session.execute(insert(OutcomeRow), outcomes)
    return [row["id"] for row in predictions]


def _prediction(prediction_id: str, version: str, label: str, moment: datetime) -> dict[str, Any]:
    return {
        "id": prediction_id,
        "created_at": moment,
        "model_version": version,
        "dataset": "dermamnist",
        "threshold": 0.5,
        "probability": 0.9 if label == "malignant" else 0.1,
        "label": label,
        "image_sha256": prediction_id,
        "image_stored": False,
        "warnings": [],
    }


def _outcome(prediction_id: str, outcome: str, moment: datetime) -> dict[str, Any]:
    return {
        "prediction_id": prediction_id,
        "number": 1,
        "current": True,
        "outcome": outcome,
        "verified_by": "histopathology",
        "verified_at": moment,
        "recorded_by": "clinic",
        "recorded_at": moment,
    }
