"""What a worker does with a running trial's news: records it, renews the lease, and learns where it stands."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.exc import OperationalError as DatabaseUnreachable
from sqlalchemy.orm import Session

from models_store import runs
from models_store.runs import Claim, EpochReport, ResumePoint, Standing
from workers.worker.context import Worker, attempt_folder

log = logging.getLogger(__name__)


class Watch:
    """Called with the trial's new messages, often. News and a due heartbeat are written; else one row is read.

    A worker that cannot renew its lease in time must assume that the trial is another's: the standing is then "lost".
    """

    def __init__(self, worker: Worker, claim: Claim) -> None:
        self._worker = worker
        self._claim = claim
        self._lease = worker.settings.lease_seconds
        self._renewed = time.monotonic()
        self._unsaved: list[dict[str, Any]] = []
        self._folder = attempt_folder(worker, claim)
        self._printed = 0

    def __call__(self, messages: Sequence[dict[str, Any]]) -> Standing:
        self._unsaved.extend(messages)
        moment = time.monotonic()
        try:
            if self._unsaved or moment - self._renewed >= self._lease / 4:
                standing = self._write()
                self._renewed = moment
            else:
                standing = self._read()
        except runs.LeaseLost:
            return "lost"
        except DatabaseUnreachable as error:
            log.warning("the database did not answer for trial %s: %s", self._claim.trial_id, error)
            return "ours" if time.monotonic() - self._renewed < self._lease else "lost"
        return standing

    def _read(self) -> Standing:
        with self._worker.database.read() as session:
            return runs.standing(session, self._claim)

    def _write(self) -> Standing:
        printed = read_printed(self._folder, self._printed)
        with self._worker.database.write() as session:
            superseded = self._record(session)
            epochs = [_epoch(message) for message in self._unsaved if message["kind"] == "epoch"]
            standing = runs.heartbeat(session, self._claim, timedelta(seconds=self._lease), epochs)
            if printed is not None and standing != "lost":
                printed.keep(session, self._claim)
                self._printed = printed.size
        self._unsaved.clear()
        for key in superseded:
            self._worker.storage.delete(key)
        return standing

    def _record(self, session: Session) -> list[str]:
        superseded = []
        for message in self._unsaved:
            if message["kind"] == "started":
                runs.forget_epochs(session, self._claim)  # a resumed trial tells of its earlier epochs again
            elif message["kind"] == "resume_point":
                point = ResumePoint(message["key"], message["sha256"], message["epochs"])
                superseded.append(runs.keep_resume_point(session, self._claim, point))
        return [key for key in superseded if key is not None]


def _epoch(message: dict[str, Any]) -> EpochReport:
    return EpochReport(**{key: value for key, value in message.items() if key != "kind"})


MOST_BYTES = 64 * 1024


@dataclass(frozen=True)
class Printed:
    """What can be read of a log: the last `MOST_BYTES` of the `size` that it has."""

    text: str
    size: int

    def keep(self, session: Session, claim: Claim) -> None:
        runs.keep_log(session, claim, self.text, is_whole=self.size <= MOST_BYTES)


def read_printed(folder: Path, known_size: int = 0) -> Printed | None:
    """None where nothing has been printed beyond `known_size` bytes."""
    path = folder / "log.txt"
    size = path.stat().st_size if path.exists() else 0
    if size == known_size:
        return None
    with path.open("rb") as file:
        file.seek(max(0, size - MOST_BYTES), os.SEEK_SET)
        return Printed(file.read(MOST_BYTES).decode(errors="replace"), size)
