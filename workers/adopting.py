"""Going on from what an earlier attempt at the same trial left on this machine."""

from pathlib import Path

from workers import resuming
from workers.job import read_outcome


def adopt_earlier(folder: Path) -> None:
    """Makes the folder of the furthest earlier attempt the new attempt's `folder`; without one nothing happens.

    It is renamed in one step: a process of that attempt that still lives finds its files gone and ends, and nothing
    can be read while it is written. Furthest is one with an outcome to record, then the one with the most epochs.
    """
    attempts = folder.parent.iterdir() if folder.parent.is_dir() else ()
    earlier = [attempt for attempt in attempts if attempt.name.isdigit() and int(attempt.name) < int(folder.name)]
    if earlier:
        max(earlier, key=_reached).rename(folder)


def _reached(attempt: Path) -> tuple[bool, int, int]:
    outcome = read_outcome(attempt)
    has_ended = outcome is not None and outcome.status != "failed"
    return has_ended, resuming.epochs_behind(attempt), int(attempt.name)
