"""Processes that end with this one, however it ends, and signals that end it in order."""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from service.embedded import watcher

WATCHER = Path(watcher.__file__)
LOG_TAIL_LINES = 15
# The watcher lets its command take GRACE_SECONDS to end, then kills it; after this time the watcher itself hangs.
STOP_SECONDS = watcher.GRACE_SECONDS + 5


@dataclass(frozen=True)
class WatchedProcess:
    """One command with its log. `stop` requests its end, `wait` returns when all its processes have ended."""

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

    def log_tail(self) -> str:
        with suppress(OSError), self.log.open(errors="replace") as lines:
            return "".join(deque(lines, LOG_TAIL_LINES)).rstrip()
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


STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ParentWatch:
    """Detects that the process that started this one, such as make, was killed and can no longer pass on a signal."""

    def __init__(self, enabled: bool) -> None:
        self._parent = os.getppid() if enabled else None

    def check(self) -> None:
        """Raises KeyboardInterrupt if that process is gone."""
        if self._parent is not None and os.getppid() != self._parent:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP all raise KeyboardInterrupt in the block, so that its clean-up runs."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _signals_handled_by(interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A second Ctrl-C must not cut the clean-up short."""
    with _signals_handled_by(signal.SIG_IGN):
        yield


@contextmanager
def _signals_handled_by(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
