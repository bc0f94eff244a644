"""A model's files as they leave the service, verified byte by byte before the first of them is sent."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from models_store.bundles import BundleAltered, fetch_files
from models_store.storage import Storage, StoredFileAltered, StoredFileMissing
from models_store.tables import Model
from service.errors import Problem

CHUNK_BYTES = 2**18


def card(model: Model, storage: Storage) -> str:
    """The model card in Markdown. Raises `Problem` if the store does not hold what was written."""
    with TemporaryDirectory() as folder:
        _fetch(model, storage, Path(folder), ("card.md",))
        return (Path(folder) / "card.md").read_text()


def zipped(model: Model, storage: Storage) -> IO[bytes]:
    """The whole bundle as an unnamed file at its start, gone when it is closed. Raises `Problem` like `card`."""
    with TemporaryDirectory() as folder:
        names = _fetch(model, storage, Path(folder))
        packed = TemporaryFile()  # noqa: SIM115 (whoever sends it closes it)
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
            for name in names:
                archive.write(Path(folder) / name, f"{model.version}/{name}")
    packed.seek(0)
    return packed


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def altered(error: Exception) -> Problem:
    return Problem(
        503,
        "bundle-altered",
        "The store does not hold this model as it was written",
        str(error),
        "Restore the store from its backup; until then promote another version.",
    )


def _fetch(model: Model, storage: Storage, folder: Path, names: tuple[str, ...] | None = None) -> tuple[str, ...]:
    try:
        return fetch_files(storage, model.store_key, model.manifest_sha256, folder, names)
    except (BundleAltered, StoredFileAltered, StoredFileMissing) as changed:
        raise altered(changed) from changed
