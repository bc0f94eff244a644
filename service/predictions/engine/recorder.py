"""The record of predictions: a thread writes them in batches, so that no answer waits for the database.

A prediction is written once, however many attempts it takes, because its id is made here. Predictions are lost in four
cases; all but the first are counted in `dermatriage_predictions_dropped_total`:

- A web process that is killed loses those that wait in it: the answers of the last `FLUSH_SECONDS` and of one write, or
  up to `MAX_WAITING` answers while the database or the store is unreachable.
- Beyond `MAX_WAITING` answers, or `MAX_WAITING_BYTES` of images, later answers are dropped.
- A process that stops drops what it cannot write within `CLOSE_SECONDS`.
- An answer that cannot be written `MAX_FAILURES` times while others can is dropped.
"""

import logging
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import InterfaceError, OperationalError

from models_store.database import Database
from models_store.store.folders import prediction_image
from models_store.store.storage import Storage
from models_store.tables import PredictionRow
from service.web import metrics

log = logging.getLogger(__name__)
MAX_WAITING = 10_000
MAX_WAITING_BYTES = 32 * 2**20
BATCH_SIZE = 500
MAX_FAILURES = 3
FLUSH_SECONDS = 0.5
MAX_PAUSE_SECONDS = 30.0
CLOSE_SECONDS = 10.0
INSERT: dict[str, Any] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


@dataclass(frozen=True)
class RecordedPrediction:
    """One prediction as it was answered; `image` only if images are kept."""

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
        return prediction_image(self.id, self.created_at)

    def columns(self) -> dict[str, Any]:
        values = {name: value for name, value in vars(self).items() if name != "image"}
        return values | {"warnings": list(self.warnings), "image_stored": self.image is not None}


class Recorder:
    """Takes predictions from the event loop and writes them from a thread. `close` writes what is left."""

    def __init__(self, database: Database, storage: Storage, most_waiting: int = MAX_WAITING) -> None:
        self._database, self._storage, self._most_waiting = database, storage, most_waiting
        self._waiting: dict[str, RecordedPrediction] = {}
        self._failures: dict[str, int] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def add(self, answered: RecordedPrediction) -> None:
        """Never waits. A prediction beyond the limits is dropped and counted."""
        size = len(answered.image or b"")
        with self._lock:
            if len(self._waiting) >= self._most_waiting or self._bytes + size > MAX_WAITING_BYTES:
                metrics.DROPPED.inc()
                return
            self._waiting[answered.id] = answered
            self._bytes += size

    def find(self, prediction_id: str) -> RecordedPrediction | None:
        """A prediction that was answered here and is not written yet."""
        return self._waiting.get(prediction_id)

    def close(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)
        if self._waiting:
            metrics.DROPPED.inc(len(self._waiting))
            log.error("%d predictions could not be recorded before the end", len(self._waiting))

    def _run(self) -> None:
        pause = FLUSH_SECONDS
        while not self._stopping.wait(pause):
            pause = FLUSH_SECONDS if self._write_all() else min(2 * pause, MAX_PAUSE_SECONDS)
        self._write_all()

    def _write_all(self) -> bool:
        """Writes what waits, and returns whether it could. Never raises: a later attempt may succeed."""
        try:
            while self._waiting:
                with self._lock:
                    batch = list(islice(self._waiting.values(), BATCH_SIZE))
                self._write_batch(batch)
        except Exception as error:
            metrics.RECORD_FAILURES.inc()
            log.warning("%d predictions wait to be recorded: %s", len(self._waiting), type(error).__name__)
            return False
        return True

    def _write_batch(self, batch: Sequence[RecordedPrediction]) -> None:
        """Raises what the database and the store raise, unless single predictions cause it."""
        try:
            self._write(batch)
        except (OperationalError, InterfaceError):  # the database is away
            raise
        except Exception as error:
            log.warning("predictions are recorded one by one: %s", error)
            self._write_each(batch)
        else:
            self._remove(batch)

    def _write_each(self, batch: Sequence[RecordedPrediction]) -> None:
        """Writes one by one, so that a failure does not stop the others. Raises if none can be written."""
        failed: list[RecordedPrediction] = []
        for number, answered in enumerate(batch):
            try:
                self._write([answered])
            except Exception as error:
                failed.append(answered)
                if len(failed) == number + 1 and number + 1 >= min(MAX_FAILURES, len(batch)):
                    self._move_to_end(failed)  # the next attempt begins with others
                    raise
                log.warning("the prediction %s was not recorded: %s", answered.id, error)
            else:
                self._remove([answered])
        self._count_failures(failed)

    def _move_to_end(self, failed: Sequence[RecordedPrediction]) -> None:
        with self._lock:
            for answered in failed:
                self._waiting[answered.id] = self._waiting.pop(answered.id)

    def _count_failures(self, failed: Sequence[RecordedPrediction]) -> None:
        """Counts the failures of predictions while others could be written, and drops one after `MAX_FAILURES`."""
        for answered in failed:
            self._failures[answered.id] = self._failures.get(answered.id, 0) + 1
        dropped = [answered for answered in failed if self._failures[answered.id] >= MAX_FAILURES]
        if dropped:
            metrics.DROPPED.inc(len(dropped))
            log.error("dropped predictions that cannot be recorded: %s", ", ".join(one.id for one in dropped))
            self._remove(dropped)
        self._move_to_end([answered for answered in failed if answered.id in self._waiting])

    def _write(self, batch: Sequence[RecordedPrediction]) -> None:
        for answered in batch:
            if answered.image is not None:
                _store_image(answered.image, answered.image_key, self._storage)
        with self._database.write() as session:
            insert = INSERT[session.get_bind().dialect.name](PredictionRow)
            # An earlier attempt has written them if its commit succeeded and the connection broke before the answer.
            session.execute(
                insert.on_conflict_do_nothing(index_elements=["id"]), [answered.columns() for answered in batch]
            )

    def _remove(self, written: Sequence[RecordedPrediction]) -> None:
        with self._lock:
            for answered in written:
                del self._waiting[answered.id]
                self._failures.pop(answered.id, None)
                self._bytes -= len(answered.image or b"")


def _store_image(image: bytes, key: str, storage: Storage) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(image)
        file.flush()
        storage.put_file(Path(file.name), key)
