"""The disk use by kind, measured in the background because a large object store takes a while to list."""

import logging
import time
from collections.abc import Mapping
from threading import Lock, Thread

from models_store.database import Database
from models_store.retention.usage import disk_use
from models_store.store.storage import Storage

KEPT_SECONDS = 300.0
CLOSING_SECONDS = 5.0
log = logging.getLogger(__name__)


class DiskUse:
    """The last measurement of one web process. Reading one that is old starts the next."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self._database, self._storage = database, storage
        self._measured: Mapping[str, int] | None = None
        self._due_at = 0.0
        self._lock = Lock()
        self._measuring: Thread | None = None

    def latest(self) -> Mapping[str, int] | None:
        """Bytes by kind; None until the first measurement is complete."""
        with self._lock:
            is_due = time.monotonic() >= self._due_at
            if is_due:
                self._due_at = time.monotonic() + KEPT_SECONDS
        if is_due:
            self._measuring = Thread(target=self.measure, name="disk use", daemon=True)
            self._measuring.start()
        return self._measured

    def close(self) -> None:
        """Waits a few seconds for a running measurement, which holds a connection to the database."""
        if self._measuring is not None:
            self._measuring.join(CLOSING_SECONDS)

    def measure(self) -> None:
        try:
            self._measured = disk_use(self._database, self._storage)
        except Exception as error:  # each kind of store raises its own
            log.warning("the disk use could not be measured: %r", error)
