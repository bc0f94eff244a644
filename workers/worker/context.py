"""What one worker process uses: its collaborators, its slots, and retries while the database is unreachable."""

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import TypeVar

from celery import Celery
from sqlalchemy.exc import OperationalError as DatabaseUnreachable
from sqlalchemy.orm import Session

from models_store.broker import Publisher, broker
from models_store.database import Database
from models_store.runs import Claim
from models_store.settings import Settings
from models_store.store.storage import Storage

NO_GPU = "-1"  # CUDA reads it as "none"; some programs read an empty value as "all"


RETRY_FOR_SECONDS = 600.0

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Slot:
    """Capacity for one trial: on a GPU of its own, or on the processor."""

    gpu: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """A worker without configured GPUs owns none, so its trials do not use those of another worker."""
        return {"CUDA_VISIBLE_DEVICES": NO_GPU if self.gpu is None else self.gpu}


@dataclass(frozen=True)
class Worker:
    """The collaborators of one worker process. `stopping` is set once it has to stop."""

    settings: Settings
    database: Database
    storage: Storage
    celery: Celery
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    stopping: Event = field(default_factory=Event)
    free_slots: SimpleQueue[Slot] = field(default_factory=SimpleQueue)

    def __post_init__(self) -> None:
        for slot in slots(self.settings):
            self.free_slots.put(slot)

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Waits for a free slot and holds it for the block."""
        slot = self.free_slots.get()
        try:
            yield slot
        finally:
            self.free_slots.put(slot)


def trial_folder(worker: Worker, trial_id: str) -> Path:
    """Where this machine keeps the folders of one trial's attempts."""
    return worker.settings.work_root.resolve() / trial_id


def attempt_folder(worker: Worker, claim: Claim) -> Path:
    """The folder of one attempt; no other attempt writes there, not even one on this machine that lost its lease."""
    return trial_folder(worker, claim.trial_id) / str(claim.fence)


def create_worker(settings: Settings) -> Worker:
    celery = broker(settings)
    return Worker(settings, Database(settings.database_url, Publisher(celery)), Storage.of(settings), celery)


def slots(settings: Settings) -> list[Slot]:
    """A slot for each configured GPU, or `worker_slots` slots without a GPU."""
    gpus = _names(settings.gpus)
    return [Slot(gpu) for gpu in gpus] or [Slot()] * settings.worker_slots


def queues(settings: Settings) -> list[str]:
    """The work queues this worker listens to; `gpu` only if it owns GPUs."""
    return [queue for queue in _names(settings.worker_queues) if queue != "gpu" or _names(settings.gpus)]


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def with_retries(
    transaction: Callable[[], AbstractContextManager[Session]], step: Callable[[Session], Answer]
) -> Answer:
    """Runs one step in one transaction, and repeats it while the database does not answer.

    Raises `sqlalchemy.exc.OperationalError` after `RETRY_FOR_SECONDS`.
    """
    deadline = time.monotonic() + RETRY_FOR_SECONDS
    while True:
        try:
            with transaction() as session:
                return step(session)
        except DatabaseUnreachable as error:
            if time.monotonic() > deadline:
                raise
            log.warning("the database did not answer, trying again: %s", error)
            time.sleep(1)
