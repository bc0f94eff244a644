"""The facts that MedMNIST publishes about DermaMNIST: labels, addresses, checksums, licence."""

import http.client
import importlib.util
import shutil
import urllib.error
import urllib.request
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from models_store.datasets.errors import ChecksumMismatch
from models_store.files import digest_of, replacing

OFFICIAL_NAMES = ("dermamnist", "dermamnist_64", "dermamnist_128", "dermamnist_224")


@dataclass(frozen=True)
class OfficialFile:
    """Address and MD5 of one published file."""

    url: str
    md5: str


@cache
def dermamnist_info() -> dict[str, Any]:
    """Return `medmnist.INFO["dermamnist"]`.

    Only the module `medmnist.info` is executed: the package's own `__init__` imports torch where it is installed and
    prints a request to install it where it is not.
    """
    package = importlib.util.find_spec("medmnist")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the package medmnist is not installed: install the product's requirements.lock")
    source = Path(package.submodule_search_locations[0]) / "info.py"
    spec = importlib.util.spec_from_file_location("medmnist_info", source)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"medmnist has no readable {source}: install medmnist 3 again")
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        # The module creates ~/.medmnist and warns where the home is read-only, which does no harm here.
        warnings.filterwarnings("ignore", "Failed to setup default root")
        spec.loader.exec_module(module)
    info: dict[str, Any] = module.INFO["dermamnist"]
    return info


def official_file(name: str) -> OfficialFile:
    """Return address and MD5 of `dermamnist`, `dermamnist_64`, `dermamnist_128` or `dermamnist_224`."""
    suffix = name.removeprefix("dermamnist")
    info = dermamnist_info()
    return OfficialFile(url=info[f"url{suffix}"], md5=info[f"MD5{suffix}"])


STALLED_SECONDS = 15
DOWNLOAD_FAILURES = (OSError, http.client.HTTPException)


def download(source: OfficialFile, target: Path) -> None:
    """Download to `target`; a file whose MD5 differs never appears there.

    Raises one of `DOWNLOAD_FAILURES` where the server or the disk fails, and `ChecksumMismatch`.
    """
    with replacing(target) as scratch:
        _save(source.url, scratch)
        require_digest(
            scratch, algorithm="md5", expected=source.md5, remedy=f"Try again: {source.url} answered something else"
        )


def require_digest(path: Path, *, algorithm: str, expected: str, remedy: str) -> None:
    """Raise `ChecksumMismatch` unless the file has the expected digest."""
    found = digest_of(path, algorithm)
    if found != expected:
        raise ChecksumMismatch(path, algorithm=algorithm, expected=expected, found=found, remedy=remedy)


def _save(url: str, path: Path) -> None:
    # The standard library trusts the system's certificates, which private authorities are added to.
    try:
        with urllib.request.urlopen(url, timeout=STALLED_SECONDS) as response, path.open("wb") as stream:
            shutil.copyfileobj(response, stream, length=2**20)
    except urllib.error.HTTPError as error:
        error.close()  # it carries the answer, and with it an open connection
        raise
