"""``python watcher.py COMMAND…`` runs one command, and ends it when the starter ends.

The starter holds the other end of this process' standard input. When the starter closes it, crashes or is killed, the
input ends, and with it the command and everything that the command has started. Needs the standard library alone, so
that it starts in a few hundredths of a second.
"""

import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.1
ON_LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def main(command: Sequence[str]) -> int:
    """Returns the command's exit code, or 128 plus the number of the signal that ended it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # only the end of the input stops it; children do not inherit a handler
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # orphaned descendants become children of this process
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: _prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    ended = _wait_for(child.pid)
    if ended is None:
        child.terminate()
        ended = _wait_for(child.pid, time.monotonic() + GRACE_SECONDS)
    _kill_all(child.pid)
    child.returncode = 0 if ended is None else os.waitstatus_to_exitcode(ended)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _wait_for(child: int, deadline: float | None = None) -> int | None:
    """Waits for the child; returns its status, or None once the input (or, with a deadline, the time) is over."""
    while True:
        status = _reap(child)
        if status is not None:
            return status
        if deadline is not None:
            if time.monotonic() > deadline:
                return None
            time.sleep(POLL_SECONDS)
        elif select.select([0], [], [], POLL_SECONDS)[0] and not os.read(0, 4096):
            return None


def _reap(child: int) -> int | None:
    """Collects every process that has ended, adopted ones included; returns the child's status if it was among them."""
    status = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                status = ended[1]
    return status


def _kill_all(child: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    while ON_LINUX and (left := _children()):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _children() -> list[int]:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    with open(f"/proc/self/task/{os.getpid()}/children") as listing:  # noqa: PTH123 (pathlib doubles the start-up time)
        return [int(pid) for pid in listing.read().split()]


def _prctl(option: int, value: int) -> None:
    if ON_LINUX:
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
