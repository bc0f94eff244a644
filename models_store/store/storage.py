"""Storage of bundles, checkpoints and data sets: a folder, or any fsspec URL such as ``s3://bucket/prefix``."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import fsspec

from models_store.files import replacing, sha256_of
from models_store.settings import Settings
from models_store.store.signatures import Trusted


class StoredFileMissing(FileNotFoundError):
    """The database names a file that the store does not hold."""


class StoredFileAltered(RuntimeError):
    """A stored file is not the one that was written."""


class Storage:
    """Files by key. A key is written once and whole: a reader sees all of it or nothing.

    `trusted` holds the keys whose signatures on bundles are trusted.
    """

    def __init__(self, url: str, trusted: Trusted | None = None) -> None:
        self.url, self.trusted = url, trusted or Trusted()
        # Other processes write to the store too, so listings must not come from a cache.
        self._files, root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        self._root = root.rstrip("/")
        self._is_local = "file" in self._files.protocol

    @classmethod
    def of(cls, settings: Settings) -> "Storage":
        """Raises `KeyUnreadable`."""
        return cls(settings.store_url, Trusted.by(settings))

    def put_file(self, local: Path, key: str) -> None:
        target = self._path(key)
        if not self._is_local:
            self._files.put_file(str(local), target)  # an object store shows an object only once it is whole
            return
        with replacing(Path(target)) as beside:
            shutil.copyfile(local, beside)

    def get_file(self, key: str, target: Path) -> None:
        """Copies `key` to `target`, which appears only when it is whole.

        Raises `StoredFileMissing` if the store does not hold it.
        """
        try:
            with replacing(target) as beside:
                self._files.get_file(self._path(key), str(beside))
        except FileNotFoundError as missing:
            raise self._missing(key) from missing

    def read(self, key: str, chunk_bytes: int) -> Iterator[bytes]:
        """The content of `key`, in pieces and without a copy on disk. Raises `StoredFileMissing` like `get_file`."""
        try:
            with self._files.open(self._path(key), "rb") as file:
                while chunk := file.read(chunk_bytes):
                    yield chunk
        except FileNotFoundError as missing:
            raise self._missing(key) from missing

    def get_verified(self, key: str, sha256: str, target: Path) -> None:
        """`get_file`, but raises `StoredFileAltered` for a file without the recorded sha256."""
        self.get_file(key, target)
        found = sha256_of(target)
        if found != sha256:
            target.unlink()
            raise StoredFileAltered(
                f"{key} in {self.url} has sha256 {found}, but {sha256} was recorded; restore it from a backup"
            )

    def exists(self, key: str) -> bool:
        return bool(self._files.exists(self._path(key)))

    def keys(self, prefix: str) -> list[str]:
        """Every key under `prefix`."""
        root = self._path(prefix)
        paths = self._files.find(root) if self._files.exists(root) else []
        return [prefix + path.removeprefix(root) for path in paths]

    def size(self, prefix: str) -> int:
        """Bytes of all files under `prefix`."""
        return sum(file["size"] for file in self._files.find(self._path(prefix), detail=True).values())

    def delete(self, key: str) -> None:
        """Removes a file, or everything under a prefix; what is already gone is no error."""
        with suppress(FileNotFoundError):
            self._files.rm(self._path(key), recursive=True)

    def _missing(self, key: str) -> StoredFileMissing:
        return StoredFileMissing(
            f"{key} is not in the store {self.url}; restore the store from its backup, or point "
            "DERMATRIAGE_STORE_URL at the store this database was filled with"
        )

    def _path(self, key: str) -> str:
        if key.startswith("/") or ".." in key.split("/"):
            raise ValueError(f"{key!r} is not a key inside the store")
        return f"{self._root}/{key}"
