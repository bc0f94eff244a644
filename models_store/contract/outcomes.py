"""What the process of a trial reports to its worker while it runs, and how it ends."""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from models_store.contract.figures import Evaluation
from models_store.contract.records import About, AnswerTime, CalibrationRecord, Parity, TestSetOpening
from models_store.contract.specs import Record

Environment = dict[str, Any]


class Started(Record):
    """Training begins; every epoch is reported from the first, those before a resume point included."""

    kind: Literal["started"] = "started"


class Epoch(Record):
    """One pass over the training images, numbered from 1.

    `metrics` holds loss, recall, specificity, precision and auc of training (augmented images, class-weighted loss)
    and, with the prefix `val_`, every figure of `binary_metrics` on the selection split. `eligible`: the policy ranks
    it. `best`: it was the best one when it ended.
    """

    kind: Literal["epoch"] = "epoch"
    number: int
    metrics: dict[str, float]
    seconds: float
    eligible: bool
    best: bool

    def values(self) -> dict[str, Any]:
        """The fields as columns and as JSON have them."""
        return self.model_dump(exclude={"kind"})


class ResumePoint(Record):
    """The file in the store from which an interrupted trial continues, and the number of epochs before it."""

    kind: Literal["resume_point"] = "resume_point"
    key: str
    sha256: str
    epochs: int


Message = Annotated[Started | Epoch | ResumePoint, Field(discriminator="kind")]
MESSAGE: TypeAdapter[Message] = TypeAdapter(Message)


class StoredFile(Record):
    """A file in the store and its checksum."""

    key: str
    sha256: str


class Trained(Record):
    """Training has ended; the weights of its best epoch are in the store."""

    kind: Literal["trained"] = "trained"
    best_epoch: int
    metrics: dict[str, float]
    checkpoint: StoredFile
    environment: Environment


class Collapsed(Record):
    """Training has ended, and no epoch was eligible."""

    kind: Literal["collapsed"] = "collapsed"
    reason: str
    environment: Environment


class FinalModel(Record):
    """A complete bundle in a folder, and everything that goes on record about it.

    `answer` is None from a worker of an earlier version.
    """

    manifest_sha256: str
    signed_by: str | None
    about: About
    calibration: CalibrationRecord
    validation: dict[str, dict[str, float]]
    opening: TestSetOpening
    evaluation: Evaluation
    export: Parity
    answer: AnswerTime | None = None
    warnings: tuple[str, ...]


class Finalized(Record):
    """The winner is exported, calibrated and tested, and its bundle is in the store."""

    kind: Literal["finalized"] = "finalized"
    version: str
    store_key: str
    model: FinalModel
    environment: Environment


class Failed(Record):
    """The process met an error. `retry`: the machine caused it, and another attempt may succeed."""

    kind: Literal["failed"] = "failed"
    error_kind: str
    message: str
    retry: bool = False


Outcome = Annotated[Trained | Collapsed | Finalized | Failed, Field(discriminator="kind")]
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


class Exit(Record):
    """How an attempt at a trial ended, and why its supervisor ended it if it did."""

    reason: Literal["finished", "crashed", "cancelled", "lost", "stopped", "overdue"]
    outcome: Outcome | None = None
    cause: str = ""
