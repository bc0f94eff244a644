"""Answers that are read as they come: the events of an experiment, and a model's bundle."""

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
    """One thing that happened to an experiment. `number` counts from 1 without gaps.

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
    """The events of one experiment after number `seen`, over as many connections as it takes.

    A server that stops ends the stream too, so only the last event makes it `over`.
    """

    experiment_id: str
    seen: int
    over: bool = False
    pause_seconds: float = 1.0

    def call(self) -> Call:
        headers = {"Last-Event-ID": str(self.seen), "Accept": "text/event-stream"}
        return Call("GET", path("experiments", self.experiment_id, "events"), {"headers": headers}, persistent=True)

    def read(self, received: ServerSentEvent) -> Iterator[Event]:
        """No event for a comment or for the pause that the server asks for."""
        if received.retry is not None:
            self.pause_seconds = received.retry / 1000
        if received.data:
            data = received.json()
            event = Event(int(received.id), received.event, data, datetime.fromisoformat(data["at"]))
            self.seen, self.over = event.number, event.is_last
            yield event


def ends(kind: str, data: Mapping[str, Any]) -> bool:
    """Whether nothing happens to the experiment after this event, unless somebody retries it."""
    return kind == "experiment" and data.get("status") in ENDED and not data.get("retried")


def part_of(target: Path) -> Path:
    """The file beside `target` that holds a bundle until all of it is checked."""
    return target.with_name(f"{target.name}.part")


def keep(part: Path, target: Path, manifest_sha256: str) -> Path:
    """Gives a bundle its name once every checksum is right. Raises `DownloadAltered`."""
    verify(part, manifest_sha256)
    return part.replace(target)


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
