"""A faster path for the usual upload: one small file, in a form or alone, read without the general form parser.

The general path spools each part to a file and validates each field, which takes longer than a small network. It
remains for forms that differ from those of browsers, curl and the usual libraries, and for large uploads, whose
decoding takes far longer than either path.
"""

import re
from uuid import uuid4

from fastapi import Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from service.access.gate import KEY_ID
from service.dependencies import Service
from service.errors import Problem
from service.predictions.answering import answer_in_json, champion, while_connected

MAX_BYTES = 128 * 1024
FORM = re.compile(r"""multipart/form-data; ?boundary=("?)([0-9A-Za-z'()+_,./:=?-]{1,70})\1""", re.IGNORECASE)
HEAD = re.compile(
    rb'\r\nContent-Disposition: form-data; name="file"; filename="[^"\r\n\\]+"'
    rb"(?:\r\nContent-Type: [\w.+/-]+)?(?:\r\nContent-Length: \d+)?\r\n\r\n",
    re.IGNORECASE,
)

IMAGES = ("image/", "application/dicom")


def only_file(content_type: str, body: bytes) -> bytes | None:
    """The content of the field `file` if the form holds nothing else and has the usual format, else None."""
    form = FORM.fullmatch(content_type)
    if form is None:
        return None
    opening = b"--" + form[2].encode()
    head = HEAD.match(body, len(opening))
    if head is None or not body.startswith(opening):
        return None
    end = body.find(b"\r\n" + opening, head.end())
    if end < 0 or body[end + 2 + len(opening) :] not in (b"--", b"--\r\n"):
        return None
    return body[head.end() : end]


class ExpressRoute(APIRoute):
    """Answers usual uploads with `answer_in_json`, and all others with the endpoint."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await super().handle(scope, receive, send)
            return
        headers = Headers(scope=scope)
        content_type = headers.get("content-type", "")
        is_image = content_type.lower().startswith(IMAGES)
        if not is_image and not content_type.lower().startswith("multipart/form-data"):
            raise _unreadable(content_type)
        if scope["query_string"] or not _is_small(headers):
            await super().handle(*(_in_a_form(scope, receive) if is_image else (scope, receive)), send)
            return
        body = await _read(receive)
        content = body if is_image else only_file(content_type, body)
        if content is None:
            await super().handle(scope, _replay(body, receive), send)
            return
        del body  # frees memory while the content waits
        services: Service = scope["app"].state.service
        serving = await champion(services)
        async with while_connected(receive):
            answer = await answer_in_json(services, serving, content, scope.get(KEY_ID))
        await Response(answer, media_type="application/json")(scope, receive, send)


async def _read(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _unreadable(content_type: str) -> Problem:
    sent = f"the body is {content_type[:100]!r}" if content_type else "the request has no Content-Type"
    return Problem("body-not-an-image", f"{sent}, neither multipart/form-data nor an image")


def _in_a_form(scope: Scope, receive: Receive) -> tuple[Scope, Receive]:
    """A request whose body is an image, as the form with one file that the endpoint reads; the body is streamed."""
    boundary = uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="image"\r\n\r\n'.encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    headers = [header for header in scope["headers"] if header[0] not in (b"content-type", b"content-length")]
    headers.append((b"content-type", f"multipart/form-data; boundary={boundary}".encode()))

    async def receive_form() -> Message:
        nonlocal head, tail
        message = await receive()
        if message["type"] == "http.request":
            body, head = head + message.get("body", b""), b""
            if not message.get("more_body", False):
                body, tail = body + tail, b""
            return {**message, "body": body}
        return message

    return {**scope, "headers": headers}, receive_form


def _replay(body: bytes, receive: Receive) -> Receive:
    """Replays the body that was read, as the message that the general parser expects."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def _is_small(headers: Headers) -> bool:
    length = headers.get("content-length", "")
    return length.isascii() and length.isdigit() and int(length[:10]) <= MAX_BYTES
