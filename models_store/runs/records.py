"""The values and errors that the run life cycle speaks in."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

UNFINISHED = ("queued", "running", "cancelling")
Standing = Literal["ours", "cancelling", "lost"]


@dataclass(frozen=True)
class PlannedTrial:
    """A trial that a phase is about to queue."""

    name: str
    kind: Literal["train", "finalize"]
    queue: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Claim:
    """The right of one worker to run one trial once. `fence` is the token that guards every later write."""

    trial_id: str
    experiment_id: str
    fence: int
    attempt: int
    kind: str


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch, as the trial's process reported it."""

    number: int
    metrics: Mapping[str, float]
    seconds: float
    eligible: bool
    best: bool


@dataclass(frozen=True)
class ResumePoint:
    """Where the store holds what an interrupted trial goes on from, and after how many epochs it was taken."""

    key: str
    sha256: str
    epochs: int


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended by itself."""

    status: Literal["succeeded", "collapsed"]
    best_epoch: int | None = None
    metrics: Mapping[str, Any] | None = None
    checkpoint_key: str | None = None
    checkpoint_sha256: str | None = None
    environment: Mapping[str, Any] | None = None
    reason: str | None = None


class LeaseLost(RuntimeError):
    """Another worker owns the trial now, or nobody does; what this worker knows about it must not be written."""


class ExperimentNotFound(LookupError):
    """No experiment has that id."""


class IdempotencyKeyReused(ValueError):
    """The same Idempotency-Key arrived with another experiment."""
