"""How many uploads a web process takes in at once, counted before their bodies are read."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Problem
from service.web.scope_marks import address


@dataclass
class Upload:
    """The uploads at one address: the most bytes of a body, the most uploads at once, and those in progress."""

    max_bytes: int
    max_active: int
    active: int = 0


class CapacityExceeded(HTTPException):
    """More bytes or uploads than a web process takes in."""

    def __init__(self) -> None:
        super().__init__(503)


class Admission:
    """Answers 503 to uploads beyond the number at an address, or beyond `most_bytes` of all bodies together.

    A body counts with its Content-Length, without one as it grows, until its answer has been sent. A body is always
    accepted if it is the only one.
    """

    def __init__(self, app: ASGIApp, uploads: Mapping[str, Upload], most_bytes: int) -> None:
        self.app, self.uploads, self.most_bytes = app, uploads, most_bytes
        self._bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        upload = self.uploads.get(address(scope)) if scope["type"] == "http" and scope["method"] == "POST" else None
        if upload is None:
            await self.app(scope, receive, send)
            return
        held, arrived = min(_content_length(scope), upload.max_bytes), 0
        if upload.active >= upload.max_active or not self._has_room(held):
            await refuse(Request(scope))(scope, receive, send)
            return

        async def counted() -> Message:
            nonlocal held, arrived
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > held:
                if not self._has_room(arrived - held, beside=held):
                    raise CapacityExceeded
                self._bytes += arrived - held
                held = arrived
            return message

        upload.active += 1
        self._bytes += held
        try:
            await self.app(scope, counted, send)
        finally:
            upload.active -= 1
            self._bytes -= held

    def _has_room(self, more: int, beside: int = 0) -> bool:
        return self._bytes + more <= self.most_bytes or self._bytes == beside


def overloaded(detail: str | None = None) -> Problem:
    return Problem("overloaded", detail, headers={"Retry-After": "1"})


def refuse(request: Request, _error: Exception | None = None) -> Response:
    return overloaded().response(request)


def _content_length(scope: Scope) -> int:
    """Bytes by `Content-Length`; 0 where there is none."""
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    return int(value[:18]) if value.isdigit() else 0
