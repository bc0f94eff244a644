"""Downloads of a model's files; every byte is verified before the first one is sent."""

import hashlib
import zipfile
from collections.abc import Iterator

from models_store.store.bundles import MANIFEST, SIGNATURE, signer_of
from models_store.store.storage import Storage, StoredFileAltered
from models_store.tables import Model
from service.errors import Problem
from service.models.stored import ALTERED, opened

CHUNK_BYTES = 2**20


def card(model: Model, storage: Storage) -> str:
    """The model card in Markdown. Raises `Problem` if the store does not hold what was written."""
    try:
        with opened(model, storage) as bundle:
            return bundle.path("card.md").read_text(encoding="utf-8")
    except ALTERED as changed:
        raise altered(changed) from changed


def zipped_bytes(model: Model, storage: Storage) -> int:
    """How many bytes `zipped` gives, every one of them verified now. Raises `Problem` like `card`."""
    try:
        return sum(map(len, zipped(model, storage)))
    except ALTERED as changed:
        raise altered(changed) from changed


def zipped(model: Model, storage: Storage) -> Iterator[bytes]:
    """The whole bundle as a zip, straight from the store. Raises one of `ALTERED` while it reads."""
    with opened(model, storage) as bundle:
        digests = bundle.files
        signature = {} if signer_of(bundle.folder) is None else {SIGNATURE: None}
    buffer = _WriteBuffer()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, sha256 in {**digests, **signature, MANIFEST: model.manifest_sha256}.items():
            # Without a date of its own, so that the same bundle gives the same bytes.
            with archive.open(zipfile.ZipInfo(f"{model.version}/{name}"), "w") as member:
                for chunk in _verified(storage, f"{model.store_key}/{name}", sha256):
                    member.write(chunk)
                    yield buffer.take()
    yield buffer.take()


def altered(error: Exception) -> Problem:
    return Problem("bundle-altered", str(error))


def _verified(storage: Storage, key: str, sha256: str | None) -> Iterator[bytes]:
    digest = hashlib.sha256()
    for chunk in storage.read(key, CHUNK_BYTES):
        digest.update(chunk)
        yield chunk
    if sha256 is not None and digest.hexdigest() != sha256:  # a signature is checked by itself
        raise StoredFileAltered(f"{key} is not the file that was recorded; restore it from a backup")


class _WriteBuffer:
    """A write-only file whose content is taken piece by piece."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """There is nothing to flush."""

    def close(self) -> None:
        """There is nothing to close."""

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken
