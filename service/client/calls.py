"""Requests and answers as values. Nothing here talks to a network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote


@dataclass(frozen=True)
class Call:
    """One request. `sent` is what httpx takes: `params`, `json`, `headers`, `files`.

    `repeatable`: sending it twice does no more than sending it once. `persistent`: a stream that is taken up again
    where it broke off. `answers` are the statuses besides 2xx that are an answer and no error.
    """

    method: str
    path: str
    sent: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True
    persistent: bool = False
    answers: tuple[int, ...] = ()

    def accepts(self, status: int) -> bool:
        return 200 <= status < 300 or status in self.answers


@dataclass(frozen=True)
class Answer:
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes


def get(path: str, **sent: Any) -> Call:
    return Call("GET", path, sent)


def path(*parts: str) -> str:
    """`/v1/experiments/exp_1`; what a person typed in place of an id cannot lead to another endpoint."""
    return "/" + "/".join(quote(part, safe="") for part in parts)
