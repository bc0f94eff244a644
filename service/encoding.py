"""Text of a request that cannot be read, or that no database can hold: refused before anything looks at it."""

import codecs

from python_multipart.multipart import parse_options_header
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Problem

CHARSETS = ("utf-8", "ascii", "iso8859-1")  # Python has some hundred codecs, and several of them are no charset


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
        return Problem(
            400,
            "bad-request",
            "Bad Request",
            "the address holds the character NUL",
            "Leave it out.",
        )
    charset = _charset(Headers(scope=scope).get("content-type", ""))
    if charset is None:
        return None
    return Problem(
        415,
        "charset-unknown",
        "The charset is not read here",
        f"the body is said to be text in {charset!r}",
        "Send UTF-8, or leave the charset out of Content-Type.",
    )


def _charset(content_type: str) -> str | None:
    """The charset that a Content-Type names if it is not one of those that are read."""
    if "charset" not in content_type.lower():
        return None
    charset: bytes = parse_options_header(content_type)[1].get(b"charset", b"utf-8")
    named = charset.decode("latin-1")
    try:
        return None if codecs.lookup(named).name in CHARSETS else named
    except (LookupError, ValueError):
        return named
