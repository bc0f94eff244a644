"""The end of what a trial's process printed, from its folder into the database, where everyone can read it."""

import os
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from models_store import runs
from models_store.runs import Claim

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
