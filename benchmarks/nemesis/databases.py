"""A database that can be stopped and started again: the whole of PostgreSQL, or the lock of SQLite's file."""

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url


@dataclass(frozen=True)
class Victim:
    """A database of `benchmarks.databases.fresh_database`, on this machine."""

    url: str

    @property
    def place(self) -> Path:
        """The folder of PostgreSQL, in which its socket lies too, or the file of SQLite."""
        url = make_url(self.url)
        return Path(str(url.query["host"] if self.is_postgresql else url.database))

    @property
    def is_postgresql(self) -> bool:
        return self.url.startswith("postgresql")

    def pause(self, seconds: float) -> None:
        """Stops all answers (PostgreSQL) or all writes (SQLite) for so many seconds."""
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
        """Kills PostgreSQL and starts it again after so many seconds: it recovers from its log."""
        pid = self._postmaster()
        command = Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
        executable, owner = Path(f"/proc/{pid}/exe").resolve(), Path(f"/proc/{pid}").stat()
        os.kill(pid, signal.SIGQUIT)
        while _is_running(pid):
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


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_running(pid: int) -> bool:
    with suppress(OSError):
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    return False
