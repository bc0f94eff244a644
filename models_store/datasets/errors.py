"""What can be wrong with a data set; every message names the file, the finding and the remedy."""

from pathlib import Path


class DatasetError(Exception):
    """A data set cannot be used. `finding` is the fact, `remedy` what a person can do about it."""

    def __init__(self, finding: str, remedy: str) -> None:
        super().__init__(f"{finding}. {remedy}")
        self.finding = finding
        self.remedy = remedy


class DatasetInvalid(DatasetError):
    """The file is damaged or not in MedMNIST layout."""

    def __init__(self, path: Path, finding: str, remedy: str) -> None:
        super().__init__(f"{path}: {finding}", remedy)
        self.path = path


class ChecksumMismatch(DatasetError):
    """The file is not the one that was published or registered."""

    def __init__(self, path: Path, *, algorithm: str, expected: str, found: str, remedy: str) -> None:
        super().__init__(f"{path}: expected {algorithm} {expected}, found {found}", remedy)
        self.path = path
        self.expected = expected
        self.found = found


class DatasetUnavailable(DatasetError):
    """The data set has a known name, but its file is not available now."""


class DatasetUnknown(DatasetError):
    """No built-in and no registered data set has this name."""


class DatasetNameRefused(DatasetError):
    """A data set cannot be registered under this name."""
