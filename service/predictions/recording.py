"""The record of predictions: written in batches by a thread of its own, so that no answer waits for the database.

What is lost: at most `MOST_WAITING` predictions wait while the database is away, and later ones are dropped and
counted; a web process that is killed loses what it answered in the last `FLUSH_SECONDS`; one that is asked to stop
writes everything first, for up to `CLOSE_SECONDS`.
"""

import logging
import tempfile
import threading
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.exc import SQLAlchemyError

from models_store.database import Database
from models_store.storage import Storage
from models_store.tables import PredictionRow
from service import metrics

log = logging.getLogger(__name__)
MOST_WAITING = 10_000
MOST_WAITING_BYTES = 64 * 2**20
MOST_TOGETHER = 500
FLUSH_SECONDS = 0.5
CLOSE_SECONDS = 10.0


@dataclass(frozen=True)
class Answered:
    """One prediction as it was given; `image` only where images are kept."""

    id: str
    model_version: str
    dataset: str
    threshold: float
    probability: float
    label: str
    image_sha256: str
    warnings: tuple[str, ...]
    key_id: str | None
    created_at: datetime
    image: bytes | None = None

    @property
    def image_key(self) -> str:
        return f"predictions/{self.created_at.astimezone(UTC):%Y-%m-%d}/{self.id}"

    def columns(self) -> dict[str, Any]:
        values = {name: value for name, value in vars(self).items() if name != "image"}
        return values | {"warnings": list(self.warnings), "image_stored": self.image is not None}


class Recorder:
    """Takes predictions from the event loop and writes them from a thread. `close` writes what is left."""

    def __init__(self, database: Database, storage: Storage, most_waiting: int = MOST_WAITING) -> None:
        self._database, self._storage, self._most_waiting = database, storage, most_waiting
        self._waiting: deque[Answered] = deque()
        self._bytes = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="record", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, answered: Answered) -> None:
        """Never waits. What finds no room is dropped and counted."""
        size = len(answered.image or b"")
        with self._lock:
            if len(self._waiting) >= self._most_waiting or self._bytes + size > MOST_WAITING_BYTES:
                metrics.DROPPED.inc()
                return
            self._waiting.append(answered)
            self._bytes += size

    def find(self, prediction_id: str) -> Answered | None:
        """A prediction that was answered here and is not written yet."""
        with self._lock:
            return next((answered for answered in self._waiting if answered.id == prediction_id), None)

    def close(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)
        if self._waiting:
            metrics.DROPPED.inc(len(self._waiting))
            log.error("%d predictions could not be recorded before the end", len(self._waiting))

    def _write_on(self) -> None:
        while not self._stopping.wait(FLUSH_SECONDS):
            self._write_all()
        self._write_all()

    def _write_all(self) -> None:
        while self._waiting:
            with self._lock:
                together = [self._waiting[place] for place in range(min(MOST_TOGETHER, len(self._waiting)))]
            try:
                self._write(together)
            except (SQLAlchemyError, OSError) as error:
                log.warning("predictions wait to be recorded: %s", type(error).__name__)
                return
            with self._lock:
                for answered in together:
                    self._waiting.popleft()
                    self._bytes -= len(answered.image or b"")

    def _write(self, together: list[Answered]) -> None:
        for answered in together:
            if answered.image is not None:
                _keep(answered.image, answered.image_key, self._storage)
        with self._database.write() as session:
            session.execute(insert(PredictionRow), [answered.columns() for answered in together])


def _keep(image: bytes, key: str, storage: Storage) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(image)
        file.flush()
        storage.put_file(Path(file.name), key)
