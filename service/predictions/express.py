"""A short way for the ordinary upload: one small file, in a form or alone, read without the general form parser.

The general way spools each part to a file and validates each field, which costs more than a small network takes. A form
written otherwise than browsers, curl and the usual libraries write one file takes it still, and so does every large
upload, for which the difference is lost in the decoding.
"""

import re
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from uuid import uuid4

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.types import Message

from service.dependencies import Service
from service.errors import Problem

MOST_BYTES = 128 * 1024
FORM = re.compile(r"""multipart/form-data; ?boundary=("?)([0-9A-Za-z'()+_,./:=?-]{1,70})\1""", re.IGNORECASE)
HEAD = re.compile(
    rb'\r\nContent-Disposition: form-data; name="file"; filename="[^"\r\n\\]+"'
    rb"(?:\r\nContent-Type: [\w.+/-]+)?(?:\r\nContent-Length: \d+)?\r\n\r\n",
    re.IGNORECASE,
)

IMAGES = ("image/", "application/dicom")

Answer = Callable[[Service, Request, bytes], Awaitable[BaseModel]]


def only_file(content_type: str, body: bytes) -> bytes | None:
    """The content of the field `file` if it is all that the form holds and is written the plain way, else None."""
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


def express_route(answer: Answer) -> type[APIRoute]:
    """A kind of route that lets `answer` handle plain uploads, and its endpoint everything else."""

    class ExpressRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            ordinary = super().get_route_handler()

            async def handle(request: Request) -> Response:
                content_type = request.headers.get("content-type", "")
                is_image = content_type.lower().startswith(IMAGES)
                if not is_image and not content_type.lower().startswith("multipart/form-data"):
                    raise _unreadable(content_type)
                if not request.scope["query_string"] and _is_small(request):
                    body = b"".join([chunk async for chunk in request.stream()])
                    content = body if is_image else only_file(content_type, body)
                    if content is None:
                        return await ordinary(_unread(request, body))
                    del body  # while the content waits
                    answered = await answer(request.app.state.service, request, content)
                    return Response(answered.model_dump_json(), media_type="application/json")
                return await ordinary(_in_a_form(request) if is_image else request)

            return handle

    return ExpressRoute


def _unreadable(content_type: str) -> Problem:
    sent = f"the body is {content_type[:100]!r}" if content_type else "the request has no Content-Type"
    return Problem("body-not-an-image", f"{sent}, neither multipart/form-data nor an image")


def _in_a_form(request: Request) -> Request:
    """A request whose body is an image, as the form with one file that the endpoint reads; nothing waits in memory."""
    boundary = uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="image"\r\n\r\n'.encode()
    tail = f"\r\n--{boundary}--\r\n".encode()
    headers = [header for header in request.scope["headers"] if header[0] not in (b"content-type", b"content-length")]
    headers.append((b"content-type", f"multipart/form-data; boundary={boundary}".encode()))

    async def receive() -> Message:
        nonlocal head, tail
        message = await request.receive()
        if message["type"] == "http.request":
            body, head = head + message.get("body", b""), b""
            if not message.get("more_body", False):
                body, tail = body + tail, b""
            return {**message, "body": body}
        return message

    return Request({**request.scope, "headers": headers}, receive)


def _unread(request: Request, body: bytes) -> Request:
    """A request whose body was read, as the general parser expects it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await request.receive()

    return Request(request.scope, receive)


def _is_small(request: Request) -> bool:
    length = request.headers.get("content-length", "")
    return length.isascii() and length.isdigit() and int(length[:10]) <= MOST_BYTES
