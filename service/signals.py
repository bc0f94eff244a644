"""How a command ends when it is told to: orderly, and only once."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ParentWatch:
    """Notices that the process that started this one, such as make, was killed and can no longer pass on a signal."""

    def __init__(self, wanted: bool) -> None:
        self._parent = os.getppid() if wanted else None

    def check(self) -> None:
        """Raises KeyboardInterrupt if that process is gone."""
        if self._parent is not None and os.getppid() != self._parent:
            raise KeyboardInterrupt


@contextmanager
def interruptible() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP all raise KeyboardInterrupt in the block, so that its clean-up runs."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handling(interrupt):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A second Ctrl-C must not cut the clean-up short."""
    with _handling(signal.SIG_IGN):
        yield


@contextmanager
def _handling(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in ENDING}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
