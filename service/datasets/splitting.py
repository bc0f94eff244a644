"""Splits a data set by whole lesions, and registers the split under its own name."""

import tempfile
from pathlib import Path

from models_store.database import Database
from models_store.datasets.errors import DatasetNameRefused
from models_store.datasets.lesions import lesions_path
from models_store.datasets.official import OFFICIAL_NAMES
from models_store.datasets.registration import register
from models_store.datasets.sources import local_copies, resolve
from models_store.datasets.splitting import LesionsUnknown, split_by_lesion, split_name
from models_store.files import sha256_of
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import DatasetRow
from service.datasets.recording import record


def make_split(
    name: str, seed: int, *, database: Database, storage: Storage, settings: Settings
) -> tuple[DatasetRow, bool]:
    """Return the split of `name`, and whether it is new: the same seed makes it once.

    Reads and writes whole files: seconds at 28 pixels, minutes at 224. Raises `DatasetError`.
    """
    target_name = split_name(name, seed)
    with database.read() as session:
        source, made = session.get(DatasetRow, name), session.get(DatasetRow, target_name)
    if made is not None:
        return _require_made_from(made, name, seed), False
    _require_lesions(name, source, settings)
    path = resolve(
        name, data_root=settings.data_root, cache_root=settings.cache_root, registered=source, storage=storage
    )
    settings.cache_root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.cache_root, prefix="split-") as folder:
        target = Path(folder) / f"{target_name}.npz"
        split_by_lesion(path, target, seed=seed)
        made_from = {"dataset": name, "sha256": sha256_of(path), "split": "new_lesions", "seed": seed}
        return record(database, register(target, target_name, storage=storage, made_from=made_from)), True


def _require_made_from(made: DatasetRow, name: str, seed: int) -> DatasetRow:
    origin = made.made_from or {}
    if (origin.get("dataset"), origin.get("seed")) != (name, seed):
        raise DatasetNameRefused(
            f"'{made.name}', the name of this split, already names another data set", "Choose another seed"
        )
    return made


def _require_lesions(name: str, source: DatasetRow | None, settings: Settings) -> None:
    """Raises `LesionsUnknown` before anything is fetched or downloaded."""
    if source is not None and source.lesions_store_key is None:
        raise LesionsUnknown(Path(f"{name}.npz"))
    if name in OFFICIAL_NAMES and not any(
        lesions_path(copy).exists() for copy in local_copies(name, settings.data_root)
    ):
        raise LesionsUnknown(Path(f"{name}.npz"))
