"""Streamed answers: the events of an experiment, and a model's bundle."""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from httpx_sse import ServerSentEvent

from dermatriage_client.errors import DownloadAltered
from dermatriage_client.requests import Call, path
from dermatriage_client.schemas import ENDED


@dataclass(frozen=True)
class Event:
    """One event of an experiment. `number` counts from 1 without gaps.

    `kind` is `experiment` or `phase`, `trial` or `epoch`; `data` holds what changed, such as `status` or `metrics`.
    """

    number: int
    kind: str
    data: Mapping[str, Any]
    at: datetime

    @property
    def is_last(self) -> bool:
        return ends(self.kind, self.data)


@dataclass
class Events:
    """The events of one experiment after number `last`, over any number of connections.

    The stream also ends when the server stops, so only the last event sets `ended`.
    """

    experiment_id: str
    last: int
    ended: bool = False
    pause_seconds: float = 1.0

    def call(self) -> Call:
        headers = {"Last-Event-ID": str(self.last), "Accept": "text/event-stream"}
        return Call("GET", path("experiments", self.experiment_id, "events"), {"headers": headers}, persistent=True)

    def read(self, received: ServerSentEvent) -> Iterator[Event]:
        """Yields no event for a comment, or for a `retry`, which sets the pause."""
        if received.retry is not None:
            self.pause_seconds = received.retry / 1000
        if received.data:
            data = received.json()
            event = Event(int(received.id), received.event, data, datetime.fromisoformat(data["at"]))
            self.last, self.ended = event.number, event.is_last
            yield event


def ends(kind: str, data: Mapping[str, Any]) -> bool:
    """Whether this is the last event of the experiment, unless somebody retries it."""
    return kind == "experiment" and data.get("status") in ENDED and not data.get("retried")


def partial_file(target: Path) -> Path:
    """The file beside `target` that holds a bundle until all of it is checked."""
    return target.with_name(f"{target.name}.part")


def verify_and_rename(part: Path, target: Path, manifest_sha256: str) -> Path:
    """Checks a bundle and renames it to `target`. Raises `DownloadAltered`."""
    verify(part, manifest_sha256)
    return part.replace(target)


def verify(bundle: Path, manifest_sha256: str) -> None:
    """Checks every file of a bundle by its manifest, and the manifest by its sha256. Raises `DownloadAltered`."""
    try:
        with zipfile.ZipFile(bundle) as archive:
            names = {name.rpartition("/")[2]: name for name in archive.namelist()}
            manifest = archive.read(names.get("manifest.json", "manifest.json"))
            _compare("manifest.json", hashlib.sha256(manifest).hexdigest(), manifest_sha256)
            for name, sha256 in json.loads(manifest)["files"].items():
                with archive.open(names.get(name, name)) as file:
                    _compare(name, hashlib.file_digest(file, "sha256").hexdigest(), sha256)  # type: ignore[arg-type]
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DownloadAltered(f"the bundle is not whole ({error}); download it again") from error


def _compare(name: str, found: str, promised: str) -> None:
    if found != promised:
        raise DownloadAltered(f"{name} has sha256 {found} instead of {promised}; download the bundle again")
