"""Models, promotions and what a person says to promote."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.experiments.schemas import RESULT_EXAMPLE
from service.predictions.schemas import GUARANTEE_EXAMPLE

VERSION_EXAMPLE = "mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e"
Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]


class ModelRead(BaseModel):
    """A packaged, calibrated and tested model. `champion` is the one that answers `/predict`."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "version": VERSION_EXAMPLE,
                "champion": True,
                "experiment_id": "exp_5f0c7a7f6f0b4c1f8d0f3f1f8f6a2b11",
                "winner": "CNN_v1-W3/LowLR",
                "architecture": "CNN_v1",
                "dataset": "dermamnist",
                "dataset_sha256": "0" * 64,
                "synthetic": False,
                "weights": "imagenet",
                "bundle_sha256": "1" * 64,
                "manifest_sha256": "2" * 64,
                "signed_by": "3f1c0d9e8b7a6f5e",
                "threshold": 0.31,
                "calibration": {"threshold": 0.31, "guarantee": GUARANTEE_EXAMPLE},
                "metrics": RESULT_EXAMPLE["test"],
                "created_at": "2026-01-05T11:02:40Z",
            }
        },
    )

    version: str
    champion: bool
    experiment_id: str
    winner: str
    architecture: str
    dataset: str
    dataset_sha256: str
    synthetic: bool = Field(description="Whether it was trained on generated images.")
    weights: str = Field(description="Initial weights of a transfer base; `none` means random.")
    bundle_sha256: str = Field(description="Identifies what the test set was opened for.")
    manifest_sha256: str = Field(description="Identifies every byte of the bundle.")
    signed_by: str | None = Field(None, description="Id of the key that signed the bundle; null: it is unsigned.")
    threshold: float
    calibration: dict[str, Any]
    metrics: dict[str, Any] = Field(description="Test figures, recall first.")
    created_at: datetime


class Why(BaseModel):
    """The reason that the history will give."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reason": "recall 0.93 against 0.91"}})

    reason: Reason


class PromotionRead(BaseModel):
    """One move of the champion."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "id": 3,
                "version": VERSION_EXAMPLE,
                "previous": "mdl_1b2c3d4e5f60718293a4b5c6d7e8f901",
                "action": "promote",
                "actor": "local",
                "reason": "recall 0.93 against 0.91",
                "created_at": "2026-01-05T12:00:00Z",
            }
        },
    )

    id: int
    version: str
    previous: str | None
    action: str
    actor: str
    reason: str
    created_at: datetime


class History(BaseModel):
    """Every move of the champion, newest first."""

    items: list[PromotionRead]
