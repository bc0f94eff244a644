"""Every table. Alembic's migrations build them; a test compares the two."""

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on both databases; SQLite itself would drop the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is not None and value.tzinfo is None:
            raise ValueError("a datetime without a zone was about to be stored; use datetime.now(UTC)")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


class Table(DeclarativeBase):
    type_annotation_map = {datetime: UtcDateTime, dict[str, Any]: JSON, str: String(255)}  # noqa: RUF012


def new_id(prefix: str) -> str:
    return f"{prefix}_{uuid.uuid4().hex}"


class Experiment(Table):
    """A submitted experiment. `status`: queued, running, succeeded, failed, cancelling, cancelled.

    `submitted_by` is the name of an API key; null where keys are off, and before it was recorded. The row of a
    deleted one stays: its test set was opened.
    """

    __tablename__ = "experiments"
    __table_args__ = (
        Index("ix_experiments_created", "created_at", "id"),
        Index("ix_experiments_status_created", "status", "created_at", "id"),
        Index("ix_experiments_deleted", "deleted_at"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("exp"))
    name: Mapped[str]
    status: Mapped[str] = mapped_column(String(16), default="queued")
    phase: Mapped[int] = mapped_column(default=0)
    progress: Mapped[float] = mapped_column(Float, default=0.0)
    priority: Mapped[int]
    spec: Mapped[dict[str, Any]]
    idempotency_key: Mapped[str | None] = mapped_column(unique=True)
    idempotency_digest: Mapped[str | None] = mapped_column(String(64))
    result: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    events: Mapped[int] = mapped_column(default=0)
    submitted_by: Mapped[str | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    deleted_by: Mapped[str | None]
    files_removed_at: Mapped[datetime | None]


class Trial(Table):
    """The training of one network, or Phase 3. `status` as an experiment's, and collapsed or pruned."""

    __tablename__ = "trials"
    __table_args__ = (
        UniqueConstraint("experiment_id", "phase", "name"),
        Index("ix_trials_status_lease", "status", "lease_expires_at"),
        Index("ix_trials_waiting", "status", "queue", "experiment_id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("trl"))
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"))
    phase: Mapped[int]
    position: Mapped[int]
    name: Mapped[str]
    kind: Mapped[str] = mapped_column(String(16))
    queue: Mapped[str] = mapped_column(String(16))
    spec: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(16), default="queued")
    attempts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    worker: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    epochs_done: Mapped[int] = mapped_column(default=0)
    best_epoch: Mapped[int | None]
    metrics: Mapped[dict[str, Any] | None]
    checkpoint_key: Mapped[str | None] = mapped_column(String(512))
    checkpoint_sha256: Mapped[str | None] = mapped_column(String(64))
    resume_key: Mapped[str | None] = mapped_column(String(512))
    resume_sha256: Mapped[str | None] = mapped_column(String(64))
    resume_epochs: Mapped[int] = mapped_column(default=0)
    environment: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]


class EpochRow(Table):
    """The metrics of one epoch, stored as they happen."""

    __tablename__ = "epochs"

    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    metrics: Mapped[dict[str, Any]]
    seconds: Mapped[float]
    eligible: Mapped[bool]
    best: Mapped[bool]
    created_at: Mapped[datetime]


class TrialLog(Table):
    """The end of the log of a trial's latest attempt."""

    __tablename__ = "trial_logs"

    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id"), primary_key=True)
    attempt: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    is_whole: Mapped[bool]
    written_at: Mapped[datetime]


class Event(Table):
    """An event of an experiment. Numbers follow the order of commits, so a reader misses none."""

    __tablename__ = "events"

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class Deliverable:
    """The columns of a webhook, which is sent until it is delivered or given up."""

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("dlv"))
    state: Mapped[str] = mapped_column(String(16), default="pending")
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]


class Delivery(Deliverable, Table):
    """The webhook about the end of an experiment, stored in the transaction that ends it."""

    __tablename__ = "deliveries"
    __table_args__ = (Index("ix_deliveries_due", "state", "due_at"),)

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), unique=True)
    status: Mapped[str] = mapped_column(String(16))


class WebhookAddress(Table):
    """The address of webhooks from `since` on, as its sha256, because it may hold a secret. The last row counts.

    Null means that webhooks are off.
    """

    __tablename__ = "webhook_addresses"

    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=True)
    url_sha256: Mapped[str | None] = mapped_column(String(64))
    since: Mapped[datetime]


class RecallAlert(Deliverable, Table):
    """The webhook about a promise in doubt: one for each model, with the figures at that time, never withdrawn."""

    __tablename__ = "recall_alerts"
    __table_args__ = (Index("ix_recall_alerts_due", "state", "due_at"),)

    model_version: Mapped[str] = mapped_column(ForeignKey("models.version"), unique=True)
    figures: Mapped[dict[str, Any]]


class LiveRecallRow(Table):
    """The live recall of a model as last counted; `outcomes` is the number of rows of that table that were counted."""

    __tablename__ = "live_recalls"

    model_version: Mapped[str] = mapped_column(ForeignKey("models.version"), primary_key=True)
    outcomes: Mapped[int]
    figures: Mapped[dict[str, Any]]
    counted_at: Mapped[datetime]


class TestOpening(Table):
    """The opening of a test set: by which trial, for which frozen bundle, at which threshold. One row an experiment."""

    __tablename__ = "test_openings"
    __test__ = False  # pytest would collect it for its name

    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), primary_key=True)
    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id"))
    dataset: Mapped[str]
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    bundle_sha256: Mapped[str] = mapped_column(String(64))
    threshold: Mapped[float]
    images: Mapped[int]
    opened_at: Mapped[datetime]


class Model(Table):
    """A packaged, calibrated, tested model. Its bundle is in the store under `store_key`.

    The row of a deleted one stays, because promotions and predictions name it.
    """

    __tablename__ = "models"
    __table_args__ = (Index("ix_models_created", "created_at", "version"), Index("ix_models_deleted", "deleted_at"))

    version: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("mdl"))
    experiment_id: Mapped[str] = mapped_column(ForeignKey("experiments.id"), unique=True)
    trial_id: Mapped[str] = mapped_column(ForeignKey("trials.id"))
    winner: Mapped[str]
    architecture: Mapped[str]
    dataset: Mapped[str]
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    synthetic: Mapped[bool]
    weights: Mapped[str] = mapped_column(String(16))
    store_key: Mapped[str] = mapped_column(String(512))
    bundle_sha256: Mapped[str] = mapped_column(String(64))
    manifest_sha256: Mapped[str] = mapped_column(String(64))
    signed_by: Mapped[str | None] = mapped_column(String(16))
    threshold: Mapped[float]
    calibration: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    deleted_by: Mapped[str | None]
    files_removed_at: Mapped[datetime | None]


class Alias(Table):
    """A name for a version; `champion` answers `/predict`. `revision` detects concurrent changes."""

    __tablename__ = "aliases"

    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    version: Mapped[str] = mapped_column(ForeignKey("models.version"))
    revision: Mapped[int]
    changed_at: Mapped[datetime]


class Promotion(Table):
    """Who moved an alias, when, from which version to which, and why."""

    __tablename__ = "promotions"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    alias: Mapped[str] = mapped_column(String(32))
    version: Mapped[str] = mapped_column(ForeignKey("models.version"))
    previous: Mapped[str | None] = mapped_column(String(40))
    action: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str]
    reason: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class DatasetRow(Table):
    """A data set registered by name; its file is in the store under its sha256."""

    __tablename__ = "datasets"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    store_key: Mapped[str] = mapped_column(String(512))
    lesions_store_key: Mapped[str | None] = mapped_column(String(512))
    image_size: Mapped[int]
    counts: Mapped[dict[str, Any]]
    synthetic: Mapped[bool]
    # Lesions with images in more than one split, and the val and test images of lesions of train; null if unknown.
    shared_lesions: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # Malignant and benign lesions by split; null: without lesions, or of an earlier version.
    lesion_counts: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    patients_store_key: Mapped[str | None] = mapped_column(String(512))
    made_from: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]


class ApiKey(Table):
    """A key of the API. Its secret is shown once and stored as its sha256: 160 random bits need no slow hash."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True, default=lambda: new_id("key"))
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]


class SignIn(Table):
    """A browser's session. Only a hash of its cookie is stored, and it ends with its key."""

    __tablename__ = "sign_ins"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("api_keys.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]


class PredictionRow(Table):
    """One answer of `/predict`, as it was given."""

    __tablename__ = "predictions"
    __table_args__ = (
        Index("ix_predictions_version_created", "model_version", "created_at"),
        Index("ix_predictions_created", "created_at", "id"),
    )

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    created_at: Mapped[datetime]
    model_version: Mapped[str] = mapped_column(ForeignKey("models.version"))
    dataset: Mapped[str]
    threshold: Mapped[float]
    probability: Mapped[float]
    label: Mapped[str] = mapped_column(String(16))
    image_sha256: Mapped[str] = mapped_column(String(64))
    image_stored: Mapped[bool]
    warnings: Mapped[list[str]] = mapped_column(JSON)
    key_id: Mapped[str | None] = mapped_column(String(40))


class OutcomeRow(Table):
    """The verified outcome of a prediction. A correction adds a row; only the last one is `current`."""

    __tablename__ = "outcomes"

    prediction_id: Mapped[str] = mapped_column(ForeignKey("predictions.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    current: Mapped[bool]
    outcome: Mapped[str] = mapped_column(String(16))
    verified_by: Mapped[str]
    verified_at: Mapped[datetime]
    note: Mapped[str | None] = mapped_column(Text)
    recorded_by: Mapped[str]
    recorded_at: Mapped[datetime]
