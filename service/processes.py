"""A process that ends with this one, however this one ends: it runs under `watcher.py`, which holds a pipe to us."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from service import watcher

WATCHER = Path(watcher.__file__)
LAST_WORDS_LINES = 15
# The watcher lets its command take GRACE_SECONDS to end, then kills it; past this the watcher itself is stuck.
STOP_SECONDS = watcher.GRACE_SECONDS + 5


@dataclass(frozen=True)
class WatchedProcess:
    """One command with its log. `stop` asks, `wait` returns when nothing of it is left."""

    name: str
    log: Path
    watcher: subprocess.Popen[bytes]

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 plus the signal's number if a signal ended it."""
        return self.watcher.poll()

    def stop(self) -> None:
        assert self.watcher.stdin is not None
        self.watcher.stdin.close()

    def wait(self) -> None:
        try:
            self.watcher.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.watcher.kill()
            self.watcher.wait()

    def last_words(self) -> str:
        with suppress(OSError), self.log.open(errors="replace") as lines:
            return "".join(deque(lines, LAST_WORDS_LINES)).rstrip()
        return ""


def start(name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> WatchedProcess:
    """Starts `command` with `environment` added to ours; what it prints replaces the content of `log`."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(WATCHER), *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,  # Ctrl-C at the terminal is ours to pass on, in order
        )
    return WatchedProcess(name, log, process)
