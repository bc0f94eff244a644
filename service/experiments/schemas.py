"""Experiments and trials as they are read back."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models_store.contract.catalog import PRESETS
from models_store.contract.specs import ExperimentSpec

Status = Literal["queued", "running", "succeeded", "failed", "cancelling", "cancelled"]
TrialStatus = Literal["queued", "running", "succeeded", "failed", "cancelling", "cancelled", "collapsed", "pruned"]

POSTED: dict[str, Any] = {"dataset": "dermamnist", **PRESETS["laptop"]}
ERROR_EXAMPLE = {"kind": "WorkerLost", "message": "the worker gpu-1:4711 fell silent during attempt 3"}
RESULT_EXAMPLE: dict[str, Any] = {
    "winner": "CNN_v1-W3/LowLR",
    "model_version": "mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e",
    "threshold": 0.31,
    "guarantee": {"policy": "np_sensitivity", "target_recall": 0.9, "confidence": 0.95, "held": True},
    "validation": {"recall": 0.93, "specificity": 0.71},
    "test": {
        "recall": 0.91,
        "specificity": 0.70,
        "precision": 0.42,
        "f1": 0.58,
        "f2": 0.74,
        "roc_auc": 0.89,
        "pr_auc": 0.66,
        "confusion": {"tn": 1129, "fp": 484, "fn": 35, "tp": 357},
    },
}
METRICS_EXAMPLE: dict[str, Any] = {"val_recall": 0.87, "val_specificity": 0.74, "val_auc": 0.88, "loss": 0.61}


class FailureRead(BaseModel):
    """Why something failed."""

    model_config = ConfigDict(extra="ignore")

    kind: str = "Failed"
    message: str = ""


class ExperimentRead(BaseModel):
    """A study and how far it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": "exp_5f0c7a7f6f0b4c1f8d0f3f1f8f6a2b11",
                "status": "succeeded",
                "phase": 3,
                "progress": 1.0,
                "spec": ExperimentSpec.model_validate(POSTED).model_dump(mode="json"),
                "attempts": 6,
                "created_at": "2026-01-05T09:30:00Z",
                "started_at": "2026-01-05T09:30:01Z",
                "finished_at": "2026-01-05T11:02:40Z",
                "result": RESULT_EXAMPLE,
                "error": None,
            }
        }
    )

    id: str
    status: Status
    phase: int = Field(ge=0, le=3, description="0 before the first, 3 while and after the winner is tested.")
    progress: float = Field(ge=0, le=1, description="Share of the study that is done; never moves back.")
    spec: dict[str, Any] = Field(description="The experiment as posted, with every default filled in.")
    attempts: int = Field(description="Trials started, those included that had to be started again.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    result: dict[str, Any] | None = Field(description="Winner, threshold, guarantee and test figures, recall first.")
    error: FailureRead | None


class EpochRead(BaseModel):
    """One epoch, as it was recorded when it ended."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    metrics: dict[str, Any] = Field(examples=[METRICS_EXAMPLE])
    seconds: float
    eligible: bool = Field(description="Whether it reached the specificity that the selection asks for.")
    best: bool = Field(description="Whether it was the best so far.")
    created_at: datetime


class TrialRead(BaseModel):
    """One training run, or the final evaluation."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "id": "trl_0d9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a",
                "experiment_id": "exp_5f0c7a7f6f0b4c1f8d0f3f1f8f6a2b11",
                "phase": 1,
                "position": 0,
                "name": "CNN_v1-W3",
                "kind": "train",
                "queue": "cpu",
                "status": "succeeded",
                "spec": {"architecture": "CNN_v1", "class_weight": "W3", "learning_rate": 0.001, "seed": 42},
                "attempts": 1,
                "worker": "gpu-1:4711",
                "epochs_done": 24,
                "best_epoch": 14,
                "metrics": dict(METRICS_EXAMPLE),
                "environment": {"keras": "3.15.0", "backend": "tensorflow"},
                "error": None,
                "created_at": "2026-01-05T09:30:00Z",
                "started_at": "2026-01-05T09:30:02Z",
                "finished_at": "2026-01-05T09:41:17Z",
                "epochs": None,
            }
        },
    )

    id: str
    experiment_id: str
    phase: int
    position: int
    name: str
    kind: Literal["train", "finalize"]
    queue: str
    status: TrialStatus
    spec: dict[str, Any]
    attempts: int
    worker: str | None
    epochs_done: int
    best_epoch: int | None
    metrics: dict[str, Any] | None
    environment: dict[str, Any] | None
    error: FailureRead | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    epochs: list[EpochRead] | None = Field(None, description="Null where epochs were not asked for.")


class TrialList(BaseModel):
    """Every trial of an experiment, in the order of its phases."""

    items: list[TrialRead]
