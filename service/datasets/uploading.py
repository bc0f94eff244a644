"""Registers a data set from the body of a request: received, checked as a local file is, stored, recorded."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from anyio import to_thread
from fastapi import Request

from models_store.datasets.errors import DatasetInvalid
from models_store.datasets.npz import unpacked_bytes
from models_store.datasets.registration import register, require_free_name
from models_store.tables import DatasetRow
from service.datasets.receiving import receive
from service.datasets.recording import is_recorded, record
from service.dependencies import Service
from service.predictions.admission import CapacityExceeded
from service.problem_kinds import REGISTER_ON_THE_SERVER

# A compressed file may claim any size; photographs shrink by a third.
EXPANSION = 4


async def register_upload(services: Service, request: Request, name: str) -> tuple[DatasetRow, bool]:
    """Return the data set, and whether it is new: the same files under the same name change nothing.

    Raises `DatasetError`, `CapacityExceeded`, and what `receive` raises.
    """
    require_free_name(name)
    async with _folder(services) as folder:
        path = folder / f"{name}.npz"
        try:
            await receive(request, path)
            return await to_thread.run_sync(_checked_and_stored, services, path, name)
        except DatasetInvalid as error:
            # The error names only the file, not its folder on the server.
            finding = error.finding.removeprefix(f"{error.path}: ")
            raise DatasetInvalid(Path(error.path.name), finding, error.remedy) from error


@asynccontextmanager
async def _folder(services: Service) -> AsyncIterator[Path]:
    """A folder of its own for one upload. Raises `CapacityExceeded` if this process takes in as many as it may."""
    if not services.dataset_uploads.acquire(blocking=False):
        raise CapacityExceeded
    try:
        cache_root = services.settings.cache_root
        cache_root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_root, prefix="upload-") as folder:
            yield Path(folder)
    finally:
        services.dataset_uploads.release()


def _checked_and_stored(services: Service, path: Path, name: str) -> tuple[DatasetRow, bool]:
    most, unpacked = EXPANSION * services.settings.max_dataset_bytes, unpacked_bytes(path)
    if unpacked > most:
        remedy = f"Raise DERMATRIAGE_MAX_DATASET_BYTES, or register it on the server: `{REGISTER_ON_THE_SERVER}`"
        raise DatasetInvalid(path, f"its arrays take {unpacked:,} bytes, and {most:,} are accepted", remedy)
    registered = register(path, name, storage=services.storage)
    is_new = not is_recorded(services.database, registered)
    return record(services.database, registered), is_new
