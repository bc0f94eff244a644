"""The test set behind a seal: opened once an experiment, for a frozen model and threshold."""

import re
from dataclasses import dataclass
from pathlib import Path

from models_store.datasets.layout import Split, read_split

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Opening:
    """What must be frozen before the test set may be looked at."""

    experiment_id: str
    bundle_sha256: str
    threshold: float


class NothingFrozen(ValueError):
    """An opening that names no frozen bundle or no threshold."""


class TestSetAlreadyOpened(RuntimeError):
    """The experiment has seen its test set; a second look would be selection on it."""

    __test__ = False  # not a test class, whatever pytest makes of its name

    def __init__(self, experiment_id: str, bundle_sha256: str, when: str) -> None:
        super().__init__(
            f"experiment {experiment_id} opened its test set {when} for the bundle {bundle_sha256[:12]}; read the "
            "recorded result, or submit a new experiment"
        )


class SealedTestSet:
    """The only way to the test images, once in a process.

    The database keeps one opening an experiment and refuses a second. It is written in the same transaction as the
    result, so that either both exist or neither does. A crash before that transaction leaves no record, and the run
    may be repeated: bundle and threshold are frozen, so it gives the same result and nobody has learnt anything in
    between.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: Opening | None = None

    def open(self, opening: Opening) -> Split:
        """Read the test split for a frozen bundle.

        Raises `NothingFrozen` for an opening without experiment, sha256 or threshold, and `TestSetAlreadyOpened` if
        this seal was broken before.
        """
        _refuse_unfrozen(opening)
        if self.opened is not None:
            raise TestSetAlreadyOpened(self.opened.experiment_id, self.opened.bundle_sha256, "earlier in this process")
        split = read_split(self.path, "test")
        self.opened = opening
        return split


def _refuse_unfrozen(opening: Opening) -> None:
    if not opening.experiment_id:
        raise NothingFrozen("an opening names its experiment, and this one names none")
    if not SHA256.fullmatch(opening.bundle_sha256):
        raise NothingFrozen(f"{opening.bundle_sha256!r} is no sha256; freeze the bundle and pass its hash")
    if not 0 <= opening.threshold <= 1:
        raise NothingFrozen(f"the threshold {opening.threshold} is not in [0, 1]; calibrate before opening")
