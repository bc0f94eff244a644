"""The state of the service: workers, queues, the champion, and drift."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from dermatriage_client.examples import EXPERIMENT_ID, VERSION
from dermatriage_client.schemas import Check

TRIAL_EXAMPLE = "trl_0d9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a"


class Versions(BaseModel):
    """What this web process runs on."""

    product: str = Field(examples=["0.1.0"])
    python: str = Field(examples=["3.11.9"])
    onnxruntime: str = Field(examples=["1.22.1"])
    database: str = Field(description="Dialect of the database.", examples=["postgresql"])
    commit: str = Field(examples=["0123456789abcdef0123456789abcdef01234567"])


class RunningTrial(BaseModel):
    """A trial that a worker holds."""

    trial_id: str = Field(examples=[TRIAL_EXAMPLE])
    experiment_id: str = Field(examples=[EXPERIMENT_ID])
    name: str = Field(examples=["CNN_v1/W3"])
    phase: int = Field(examples=[1])
    epochs_done: int = Field(examples=[12])
    lease_seconds_left: float = Field(description="Below 0 the trial is about to be reclaimed.", examples=[48.0])


class WorkerRead(BaseModel):
    """A worker that sent a heartbeat recently, or that holds a trial. Fields of its heartbeat are null without one."""

    name: str = Field(examples=["gpu-1:4711"])
    heard_seconds_ago: float | None = Field(description="Null: no heartbeat for half a minute.", examples=[4.2])
    queues: list[str] = Field(examples=[["cpu", "gpu"]])
    slots: int | None = Field(description="Trials it runs at the same time.", examples=[2])
    gpus: list[str] = Field(description="Numbers of the GPUs it owns.", examples=[["0", "1"]])
    cores: int | None = Field(examples=[16])
    python: str | None = Field(examples=["3.11.9"])
    version: str | None = Field(examples=["0.1.0"])
    commit: str | None = Field(examples=["0123456789abcdef0123456789abcdef01234567"])
    started_at: datetime | None = Field(examples=["2026-01-05T09:00:00Z"])
    running: list[RunningTrial]


class QueueRead(BaseModel):
    """Trials that wait for a worker, and the room there is for them."""

    name: str = Field(examples=["cpu"])
    waiting: int = Field(examples=[3])
    oldest_seconds: float | None = Field(description="Age of the longest-waiting trial.", examples=[95.0])
    slots: int = Field(description="Slots of the active workers that listen to this queue.", examples=[2])


class Day(BaseModel):
    """The predictions of one day (UTC), of all models, and how far those of the champion drift from validation."""

    day: date = Field(examples=["2026-01-05"])
    malignant: int = Field(description="Images called malignant.", examples=[31])
    benign: int = Field(description="Images called benign.", examples=[112])
    drift: float | None = Field(
        description="Kolmogorov-Smirnov distance of the champion's probabilities from those on validation images; null "
        "below 50 of them.",
        examples=[0.08],
    )
    chance: float | None = Field(
        description="What that distance exceeds on one day in twenty if nothing drifts.", examples=[0.15]
    )


class CallsRead(BaseModel):
    """Images with one label, how many of them are verified, and how many of the verified ones are malignant."""

    images: int = Field(examples=[400])
    verified: int = Field(examples=[60])
    malignant: int = Field(examples=[2])

    @property
    def share(self) -> float | None:
        return self.verified / self.images if self.images else None


class LiveEstimate(BaseModel):
    """Recall corrected for the share verified of each label, with its exact interval."""

    recall: float
    low: float
    high: float
    among_verified: float = Field(description="Without the correction.")


class LiveRecallRead(BaseModel):
    """What the outcomes of one model show, against what it promises. The sweeper counts them."""

    version: str = Field(examples=[VERSION])
    counted_at: datetime = Field(examples=["2026-01-05T12:00:00Z"])
    malignant: CallsRead = Field(description="Images called malignant.")
    benign: CallsRead = Field(description="Images called benign.")
    estimate: LiveEstimate | None = Field(
        description="Null: withheld; `sentences` gives the reason.",
        examples=[{"recall": 0.91, "low": 0.82, "high": 0.96, "among_verified": 0.97}],
    )
    target_recall: float | None = Field(description="Null: the model promises no recall.", examples=[0.9])
    confidence: float = Field(description="Of the interval and of the alert.", examples=[0.95])
    evidence: float | None = Field(description="Against the promise; null while it is not tested.", examples=[0.4])
    alert_at: float = Field(description="The evidence that raises the alert.", examples=[20.0])
    in_doubt_since: datetime | None = Field(description="When the alert was raised; it stays.", examples=[None])
    sentences: list[str] = Field(examples=[["Live recall is 0.910 (exact 95 % interval 0.820 to 0.960)."]])


class EventRead(BaseModel):
    """An event of an experiment, other than the end of an epoch."""

    model_config = ConfigDict(from_attributes=True)

    experiment_id: str = Field(examples=[EXPERIMENT_ID])
    number: int = Field(examples=[7])
    kind: str = Field(examples=["trial"])
    data: dict[str, Any] = Field(examples=[{"trial_id": TRIAL_EXAMPLE, "status": "succeeded"}])
    created_at: datetime = Field(examples=["2026-01-05T09:41:17Z"])


class SystemRead(BaseModel):
    """The service at one moment."""

    at: datetime = Field(examples=["2026-01-05T12:00:00Z"])
    checks: dict[str, Check] = Field(
        description="Database, broker, store and model; `refused` names a champion that failed its checks.",
        examples=[{name: {"ok": True, "detail": "answers", "refused": None} for name in ("database", "store")}],
    )
    versions: Versions
    workers_heard: bool = Field(
        description="False while the broker does not answer; then only workers that hold a lease are listed.",
        examples=[True],
    )
    workers: list[WorkerRead]
    queues: list[QueueRead]
    champion: str | None = Field(description="Version that answers in this process.", examples=[VERSION])
    disk: dict[str, int] | None = Field(
        description="Bytes by kind, measured within the last minutes; null until the first measurement is complete.",
        examples=[{"models": 48_210_331, "checkpoints": 9_113_402, "database": 2_621_440}],
    )
    days: list[Day] = Field(description="The last 14 days, oldest first, with days without predictions.")
    recalls: list[LiveRecallRead] = Field(description="Models with outcomes, the most recently counted first.")
    events: list[EventRead] = Field(description="Newest first.")
