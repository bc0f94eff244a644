"""A model's bundle, written to a file and checked byte by byte before the file gets its name."""

import hashlib
import json
import os
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from service.client.calls import get, path
from service.client.errors import DownloadAltered
from service.client.flows import Flow

CHUNK_BYTES = 2**20


class Download(Flow[Path]):
    """The zip of one model at `target`; beside it, until all of it is checked, `target`.part."""

    def __init__(self, version: str, target: str | os.PathLike[str]) -> None:
        self.call = get(path("v1", "models", version, "bundle"))
        self._target = Path(target)
        self._part = self._target.with_name(f"{self._target.name}.part")

    def begin(self, status: int, headers: Mapping[str, str]) -> None:  # noqa: ARG002
        self._manifest_sha256 = headers.get("etag", "").strip('"')
        self._part.write_bytes(b"")

    def feed(self, chunk: bytes) -> Iterable[Path]:
        with self._part.open("ab") as file:
            file.write(chunk)
        return ()

    def end(self) -> Iterable[Path]:
        try:
            verify(self._part, self._manifest_sha256)
            self._part.replace(self._target)
        finally:
            self._part.unlink(missing_ok=True)
        self.call = None
        return (self._target,)


def verify(bundle: Path, manifest_sha256: str) -> None:
    """Checks every file of a bundle by its manifest, and the manifest by its sha256. Raises `DownloadAltered`."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            names = {name.rpartition("/")[2]: name for name in archive.namelist()}
            manifest = archive.read(names.get("manifest.json", "manifest.json"))
            _require("manifest.json", hashlib.sha256(manifest).hexdigest(), manifest_sha256)
            for name, sha256 in json.loads(manifest)["files"].items():
                with archive.open(names.get(name, name)) as file:
                    _require(name, hashlib.file_digest(file, "sha256").hexdigest(), sha256)  # type: ignore[arg-type]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DownloadAltered(f"the bundle is not whole ({error}); download it again") from error


def _require(name: str, found: str, promised: str) -> None:
    if found != promised:
        raise DownloadAltered(f"{name} has sha256 {found} instead of {promised}; download the bundle again")
