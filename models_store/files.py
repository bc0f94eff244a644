"""Atomic writes, after which a file is the old or the new one even if the machine stops, and checksums of files."""

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Gives a path beside `target` to write to; on success flushes it to disk and renames it to `target`.

    On an error, a full disk included, `target` stays as it was and the incomplete file is removed.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{uuid.uuid4().hex[:8]}-{target.name}")
    try:
        yield beside
        _flush(beside)
        beside.replace(target)
        _flush(target.parent)
    finally:
        beside.unlink(missing_ok=True)


def digest_of(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def sha256_of(path: Path) -> str:
    return digest_of(path, "sha256")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
