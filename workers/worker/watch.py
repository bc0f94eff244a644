"""Supervising a running trial: its messages are recorded, its lease renewed, its log stored where everyone can read it.

Its folder is on one worker only.
"""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy.exc import OperationalError as DatabaseUnreachable
from sqlalchemy.orm import Session

from models_store import runs
from models_store.contract.outcomes import Epoch, Message, ResumePoint, Started
from models_store.runs import Claim, ClaimState
from workers.trial.protocol import LOG
from workers.worker.context import Worker, attempt_folder

log = logging.getLogger(__name__)
STORED_LOG_BYTES = 64 * 1024


@dataclass(frozen=True)
class LogTail:
    """The last `STORED_LOG_BYTES` of a log of `size` bytes."""

    text: str
    size: int

    def store(self, session: Session, claim: Claim) -> None:
        runs.store_log(session, claim, self.text, is_whole=self.size <= STORED_LOG_BYTES)


class Watch:
    """Called often, with the trial's new messages. Writes them and a heartbeat that is due; otherwise reads one row.

    A worker that cannot renew its lease in time must assume that another worker has the trial: the state is "lost".
    """

    def __init__(self, worker: Worker, claim: Claim) -> None:
        self._worker = worker
        self._claim = claim
        self._lease = worker.settings.lease_seconds
        self._renewed = time.monotonic()
        self._unsaved: list[Message] = []
        self._folder = attempt_folder(worker, claim)
        self._stored_log_size = 0

    def __call__(self, messages: Sequence[Message]) -> ClaimState:
        self._unsaved.extend(messages)
        moment = time.monotonic()
        try:
            if self._unsaved or moment - self._renewed >= self._lease / 4:
                claim_state = self._write()
                self._renewed = moment
            else:
                claim_state = self._read()
        except runs.LeaseLost:
            return "lost"
        except DatabaseUnreachable as error:
            log.warning("the database did not answer for trial %s: %s", self._claim.trial_id, error)
            return "ours" if time.monotonic() - self._renewed < self._lease else "lost"
        return claim_state

    def _read(self) -> ClaimState:
        with self._worker.database.read() as session:
            return runs.claim_state(session, self._claim)

    def _write(self) -> ClaimState:
        tail = read_log(self._folder, self._stored_log_size)
        with self._worker.database.write() as session:
            superseded = self._record(session)
            epochs = [message for message in self._unsaved if isinstance(message, Epoch)]
            claim_state = runs.heartbeat(session, self._claim, timedelta(seconds=self._lease), epochs)
            if tail is not None and claim_state != "lost":
                tail.store(session, self._claim)
                self._stored_log_size = tail.size
        self._unsaved.clear()
        for key in superseded:
            self._worker.storage.delete(key)
        return claim_state

    def _record(self, session: Session) -> list[str]:
        superseded = []
        for message in self._unsaved:
            if isinstance(message, Started):
                runs.delete_epochs(session, self._claim)  # a resumed trial reports its earlier epochs again
            elif isinstance(message, ResumePoint):
                superseded.append(runs.store_resume_point(session, self._claim, message))
        return [key for key in superseded if key is not None]


def read_log(folder: Path, known_size: int = 0) -> LogTail | None:
    """None where the log has not grown beyond `known_size` bytes."""
    path = folder / LOG
    size = path.stat().st_size if path.exists() else 0
    if size == known_size:
        return None
    with path.open("rb") as file:
        file.seek(max(0, size - STORED_LOG_BYTES), os.SEEK_SET)
        return LogTail(file.read(STORED_LOG_BYTES).decode(errors="replace"), size)
