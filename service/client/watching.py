"""Server-Sent Events, read so that no event is missed or told twice however often the connection breaks.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.client.calls import Call, path
from service.client.flows import Flow, Lines

ENDED = ("succeeded", "failed", "cancelled")
NO_MORE = 204


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
        return self.kind == "experiment" and self.data.get("status") in ENDED


class Watch(Flow[Event]):
    """The events of one experiment after number `after`, to its end."""

    def __init__(self, experiment_id: str, after: int = 0) -> None:
        self._path = path("v1", "experiments", experiment_id, "events")
        self._seen = after
        self._retry_seconds = 1.0
        self._ask()

    def begin(self, status: int, headers: Mapping[str, str]) -> None:  # noqa: ARG002
        self._lines, self._fields = Lines(), dict[str, str]()
        self._over = status == NO_MORE

    def feed(self, chunk: bytes) -> Iterable[Event]:
        for line in self._lines.feed(chunk):
            if (event := self._read(line)) is not None:
                self._seen, self._over = event.number, event.is_last
                self._ask()
                yield event

    def end(self) -> Iterable[Event]:
        """A server that stops ends the stream too: it is over only after the last event."""
        if self._over:
            self.call, self.pause_seconds = None, 0.0
        else:
            self.pause_seconds = self._retry_seconds
        return ()

    def _ask(self) -> None:
        headers = {"Last-Event-ID": str(self._seen), "Accept": "text/event-stream"}
        self.call = Call("GET", self._path, {"headers": headers}, persistent=True)

    def _read(self, line: str) -> Event | None:
        """The event that an empty line completes; what the connection cut in half never comes so far."""
        if line == "":
            fields, self._fields = self._fields, {}
            return _event(fields) if "data" in fields else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "retry" and value.isdecimal():
            self._retry_seconds = int(value) / 1000
        elif name == "data" and "data" in self._fields:
            self._fields["data"] += "\n" + value
        elif name:
            self._fields[name] = value
        return None


def _event(fields: Mapping[str, str]) -> Event:
    data = json.loads(fields["data"])
    return Event(int(fields["id"]), fields["event"], data, datetime.fromisoformat(data["at"]))
