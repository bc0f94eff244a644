"""The bundle of a model as the store holds it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from models_store.store.bundles import BundleAltered, StoredBundle
from models_store.store.storage import Storage, StoredFileAltered, StoredFileMissing
from models_store.tables import Model

ALTERED = (BundleAltered, StoredFileAltered, StoredFileMissing)


@contextmanager
def opened(model: Model, storage: Storage) -> Iterator[StoredBundle]:
    """Its files are copied into a folder that is removed afterwards. Raises one of `ALTERED`."""
    with TemporaryDirectory() as folder:
        yield StoredBundle(storage, model.store_key, model.manifest_sha256, Path(folder))
