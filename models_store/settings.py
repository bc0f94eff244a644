"""Every setting of the product, read once at the edge and passed on as an argument."""

from ipaddress import ip_network
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote, urlsplit

from platformdirs import user_cache_path
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from models_store.experiment.promotion import DEFAULT_POLICY, PromotionPolicy

MAX_DAYS = 36_500
# Where container engines mount secrets, a file each, named like the variable: dermatriage_database_password.
SECRETS_FOLDER = Path("/run/secrets")


class Settings(BaseSettings):
    """Environment variables with the prefix ``DERMATRIAGE_``; the defaults run the embedded stack under ``./var``."""

    model_config = SettingsConfigDict(
        env_prefix="DERMATRIAGE_",
        env_file=".env",
        extra="ignore",
        secrets_dir=SECRETS_FOLDER if SECRETS_FOLDER.is_dir() else None,
    )

    database_url: str = Field("sqlite:///var/dermatriage.db", description="SQLAlchemy URL of SQLite or PostgreSQL.")
    database_password: SecretStr | None = Field(None, description="Put into `DATABASE_URL` when it holds none.")
    broker_url: str = Field("redis://127.0.0.1:6379/0", description="Redis or Valkey URL that Celery uses.")
    broker_password: SecretStr | None = Field(None, description="Put into `BROKER_URL` when it holds none.")
    store_url: str = Field("var/store", description="Folder or fsspec URL (`s3://…`) that holds models and data sets.")
    data_root: Path = Field(
        Path("var/data"), description="Folder searched for MedMNIST files before its cache and the download."
    )
    weights_root: Path | None = Field(None, description="Folder searched for ImageNet weights before Keras' cache.")
    work_root: Path = Field(Path("var/work"), description="Scratch folder of running trials on this machine.")
    least_scratch_bytes: int = Field(
        256 * 2**20, ge=0, description="A worker takes no trial while fewer bytes are free in `WORK_ROOT`."
    )
    cache_root: Path = Field(
        default_factory=lambda: user_cache_path("dermatriage"), description="Local copies of data sets and models."
    )
    host: str = Field("127.0.0.1", description="Address the web server listens on.")
    port: int = Field(8000, ge=0, le=65535, description="Port the web server listens on.")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^/]",
        description="Address at which people reach the service, such as `https://triage.example`, for the links of "
        "webhooks; without: `http://HOST:PORT`.",
    )
    auth: Literal["off", "keys"] = Field("off", description="`off` works on loopback only; `keys` asks for API keys.")
    trusted_proxies: str = Field(
        "", description="Proxies whose `X-Forwarded-For` and `-Proto` are trusted: addresses or networks, by commas."
    )
    web_processes: int = Field(1, ge=1, le=64, description="Web processes that share the port.")
    inference_threads: int = Field(1, ge=1, description="Threads of one run of the network, in each web process.")
    batch_images: int = Field(32, ge=1, description="Most images that share one run of the network.")
    waiting_images: int = Field(256, ge=1, description="Images that may wait in a web process; beyond, it answers 503.")
    waiting_bytes: int = Field(
        224 * 2**20,
        ge=1024,
        description="Bytes of uploads a web process takes in at once; beyond, it answers 503.",
    )
    requests_per_minute: int = Field(
        6000, ge=1, description="Requests of one API key (or address, with `AUTH=off`); beyond, the answer is 429."
    )
    upload_seconds: float = Field(60, gt=0, description="Longest that the body of a request may take to arrive.")
    max_batch_bytes: int = Field(100 * 2**20, ge=1024, description="Largest body of `/v1/predict/batch`, in bytes.")
    max_dataset_bytes: int = Field(
        2 * 2**30,
        ge=1024,
        description="Largest body of `POST /v1/datasets`, in bytes; it may unpack to four times that.",
    )
    dataset_upload_seconds: float = Field(
        3600, gt=0, description="Longest that the body of `POST /v1/datasets` may take to arrive."
    )
    max_batch_images: int = Field(1000, ge=1, description="Most images in one `/v1/predict/batch`.")
    store_images: bool = Field(False, description="Whether images sent to `/predict` are kept in the store.")
    metrics_open: bool = Field(False, description="Whether `/metrics` answers without an API key.")
    backend: Literal["tensorflow", "jax"] = Field("tensorflow", description="Keras backend of the trial processes.")
    trial_module: str = Field("workers.trial", description="Python module that runs one trial in its own process.")
    gpus: str = Field("", description="GPUs this worker owns, such as `0,1`; each runs one trial at a time.")
    worker_slots: int = Field(1, ge=1, description="Trials a worker without GPUs runs at the same time.")
    worker_queues: str = Field(
        "cpu,gpu", description="Queues a worker listens to, separated by commas; to `gpu` only if it owns GPUs."
    )
    lease_seconds: float = Field(
        60, gt=0, description="Lease of a worker on a trial; once it expires, the trial is requeued."
    )
    sweep_seconds: float = Field(10, gt=0, description="Time between two sweeps for expired leases and lost messages.")
    max_attempts: int = Field(3, ge=1, description="Times a trial is tried when the machinery, not the spec, fails.")
    resume_upload_seconds: float = Field(
        300, ge=0, description="Least time between two uploads of a trial's resume point to the store."
    )
    keep_checkpoints_days: float = Field(
        0,
        ge=0,
        le=MAX_DAYS,
        description="Days for which the checkpoints of losing trials are kept after their experiment succeeded or was "
        "cancelled. Those of the final model's networks stay.",
    )
    keep_failed_checkpoints_days: float = Field(
        30,
        ge=0,
        le=MAX_DAYS,
        description="Days for which the checkpoints of a failed experiment are kept, so that it can be retried.",
    )
    keep_logs_days: float | None = Field(
        None,
        ge=0,
        le=MAX_DAYS,
        description="Days for which the logs of an ended experiment are kept; unset: for ever.",
    )
    keep_events_days: float | None = Field(
        None,
        ge=0,
        le=MAX_DAYS,
        description="Days for which the events of an ended experiment are kept; unset: for ever.",
    )
    keep_predictions_days: float | None = Field(
        None,
        ge=14,
        le=MAX_DAYS,
        description="Days for which predictions and their stored images are kept; unset: for ever. Drift needs 14.",
    )
    promotion_policy: PromotionPolicy = Field(
        DEFAULT_POLICY,
        description="What `promote: if_better` compares on the same test set: `target_recall` (recall up to the "
        "target, then specificity), `recall`, `f2` or `roc_auc`.",
    )
    signing_key: Path | None = Field(
        None, description="PEM file of the Ed25519 key with which a worker signs its bundles; without: unsigned."
    )
    verify_keys: Path | None = Field(
        None, description="PEM file of the public keys whose signatures on bundles are trusted; without: none checked."
    )
    require_signatures: bool = Field(False, description="Whether a bundle that nobody signed is refused.")
    webhook_url: str | None = Field(
        None, description="Where to POST that an experiment ended or a promised recall is in doubt."
    )
    webhook_secret: str | None = Field(None, repr=False, description="Key of the HMAC-SHA256 that signs each webhook.")
    max_upload_bytes: int = Field(10 * 2**20, ge=1024, description="Largest image accepted by `/predict`, in bytes.")
    max_image_pixels: int = Field(40_000_000, ge=1, description="Largest image accepted by `/predict`, in pixels.")

    @property
    def address(self) -> str:
        """Where people reach the service, without a slash at its end."""
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")

    @field_validator("trusted_proxies")
    @classmethod
    def proxies_are_addresses_or_networks(cls, proxies: str) -> str:
        return ",".join(_network(part.strip()) for part in proxies.split(",") if part.strip())

    @model_validator(mode="after")
    def passwords_are_in_their_urls(self) -> Self:
        # Assigned only if it changes: assignment marks a field as set by a person, which the embedded stack reads.
        if self.database_password is not None:
            self.database_url = _with_password(self.database_url, self.database_password)
        if self.broker_password is not None:
            self.broker_url = _with_password(self.broker_url, self.broker_password)
        return self


def _network(text: str) -> str:
    ip_network(text)  # raises ValueError; uvicorn would accept any text as the name of a socket
    return text


def _with_password(url: str, password: SecretStr) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.password is not None:
        return url
    host = parts.netloc.rpartition("@")[2]
    secret = quote(password.get_secret_value().strip(), safe="")
    return parts._replace(netloc=f"{parts.username or ''}:{secret}@{host}").geturl()
