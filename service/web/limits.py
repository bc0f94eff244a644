"""Limits of every request: the bytes and seconds of its body, and its character set."""

import asyncio
import codecs
from collections.abc import Mapping
from dataclasses import dataclass

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import Problem
from service.web.scope_marks import address

CHARSETS = ("utf-8", "ascii", "iso8859-1")  # Python has about a hundred codecs, and some of them are not charsets


@dataclass(frozen=True)
class Bounds:
    """The largest body that a request may have, and the longest time it may take to arrive."""

    max_bytes: int
    seconds: float


class BodyLimit:
    """Refuses a request with 413 as soon as more bytes than allowed have arrived, whatever its Content-Length.

    A body that has not arrived in time is refused with 408. `larger` holds the bounds of single addresses.
    """

    def __init__(self, app: ASGIApp, usual: Bounds, larger: Mapping[str, Bounds]) -> None:
        self.app, self.usual, self.larger = app, usual, larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        received, whole = 0, False
        bounds = self.larger.get(address(scope), self.usual)
        deadline = asyncio.get_running_loop().time() + bounds.seconds

        async def receive_within_limit() -> Message:
            nonlocal received, whole
            if whole:  # after the body, the only message is that the client has gone
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                late = f"the body did not arrive within {bounds.seconds:g} seconds"
                raise HTTPException(408, late, {"Connection": "close"}) from None
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > bounds.max_bytes:
                raise HTTPException(413, f"the request has more than {bounds.max_bytes:,} bytes")
            return message

        await self.app(scope, receive_within_limit, send)


class PlainText:
    """Refuses NUL in an address with 400, and a body whose charset is not one of `CHARSETS` with 415."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = _refusal(scope) if scope["type"] == "http" else None
        answer = self.app if refusal is None else refusal.response(Request(scope))
        await answer(scope, receive, send)


def _refusal(scope: Scope) -> Problem | None:
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        return Problem("bad-request", "the address holds the character NUL", "Leave it out.")
    charset = _unsupported_charset(Headers(scope=scope).get("content-type", ""))
    if charset is None:
        return None
    return Problem("charset-unknown", f"the Content-Type names the charset {charset!r}")


def _unsupported_charset(content_type: str) -> str | None:
    """The charset of a Content-Type if it is not one of `CHARSETS`, else None."""
    if "charset" not in content_type.lower():
        return None
    charset: bytes = parse_options_header(content_type)[1].get(b"charset", b"utf-8")
    named = charset.decode("latin-1")
    try:
        return None if codecs.lookup(named).name in CHARSETS else named
    except (LookupError, ValueError):
        return named
