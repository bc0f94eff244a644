"""Checksums of files and the comparison with a known one."""

import hashlib
from pathlib import Path

from models_store.datasets.errors import ChecksumMismatch


def digest_of(path: Path, algorithm: str) -> str:
    """Return the hexadecimal digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a file."""
    return digest_of(path, "sha256")


def require_digest(path: Path, *, algorithm: str, expected: str, remedy: str) -> None:
    """Raise `ChecksumMismatch` unless the file has the expected digest."""
    found = digest_of(path, algorithm)
    if found != expected:
        raise ChecksumMismatch(path, algorithm=algorithm, expected=expected, found=found, remedy=remedy)
