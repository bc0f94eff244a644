"""Fetching a published file, complete and checked or not at all."""

import http.client
import shutil
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models_store.datasets.digests import require_digest
from models_store.datasets.official import OfficialFile

STALLED_SECONDS = 15
DOWNLOAD_FAILURES = (OSError, http.client.HTTPException)


@contextmanager
def completed_at(target: Path) -> Iterator[Path]:
    """Give a scratch path beside `target` and rename it to `target` on leaving without an error.

    The scratch folder is private, so two processes may do the same work at the same time; the last rename wins.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        scratch = Path(folder) / target.name
        yield scratch
        scratch.replace(target)


def download(source: OfficialFile, target: Path) -> None:
    """Download to `target`; a file whose MD5 differs never appears there.

    Raises one of `DOWNLOAD_FAILURES` where the server or the disk fails, and `ChecksumMismatch`.
    """
    with completed_at(target) as scratch:
        _save(source.url, scratch)
        require_digest(
            scratch, algorithm="md5", expected=source.md5, remedy=f"Try again: {source.url} answered something else"
        )


def _save(url: str, path: Path) -> None:
    # The standard library trusts the system's certificates, which private authorities are added to.
    try:
        with urllib.request.urlopen(url, timeout=STALLED_SECONDS) as response, path.open("wb") as stream:
            shutil.copyfileobj(response, stream, length=2**20)
    except urllib.error.HTTPError as error:
        error.close()  # it carries the answer, and with it an open connection
        raise
