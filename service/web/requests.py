"""What every request gets: an id, the common headers of answers, a duration in the metrics, and an access log line."""

import logging
import re
import time
import uuid
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models_store import logs
from service.access.gate import CALLER, RATE_LIMIT
from service.access.rates import RateLimit, RawHeader
from service.errors import CLIENT_CLOSED_REQUEST, SECURITY_HEADERS
from service.web import metrics

ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
SECURITY = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]
METHODS = ("GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS")


class Observe:
    """Gives each request the id that its `X-Request-Id` names, or a new one, and each answer its common headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, status, started = time.perf_counter(), 500, False
        request_id = _request_id(scope)
        token = REQUEST_ID.set(request_id.decode())

        async def send_with_headers(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                status, started = status if status == CLIENT_CLOSED_REQUEST else message["status"], True
                message["headers"] = _with_common(message.get("headers", ()), scope.get(RATE_LIMIT), request_id)
            await send(message)

        async def receive_until_closed() -> Message:
            nonlocal status
            message = await receive()
            if message["type"] == "http.disconnect" and not started:
                status = CLIENT_CLOSED_REQUEST  # nobody receives what is sent from now on
            return message

        try:
            await self.app(scope, receive_until_closed, send_with_headers)
        finally:
            # The client chooses method and path, so neither may become a label unchecked.
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in METHODS else "other"
            seconds = time.perf_counter() - began
            metrics.request_seconds(method, route, status).observe(seconds)
            log_request(method, route, status, seconds, scope.get(CALLER))
            REQUEST_ID.reset(token)


def _with_common(own: Iterable[RawHeader], rate_limit: RateLimit | None, request_id: bytes) -> list[RawHeader]:
    """The headers of an answer, those of the rate limit, and the security headers that the answer lacks."""
    headers = list(own)
    names = {name for name, _ in headers}
    headers += [header for header in SECURITY if header[0] not in names]
    headers += [] if rate_limit is None else rate_limit.headers()
    headers.append((b"x-request-id", request_id))
    return headers


def _request_id(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and ID.fullmatch(value):
            return bytes(value)
    return uuid.uuid4().hex.encode()


REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
access = logging.getLogger("dermatriage.access")


class RequestLines(logs.JsonLines):
    """Adds the id of the current request."""

    def fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        request_id = REQUEST_ID.get()
        return ({"request_id": request_id} if request_id else {}) | super().fields_of(record)


def configure() -> None:
    """Sends every log of this process to standard error."""
    logs.configure(RequestLines())


def log_request(method: str, route: str, status: int, seconds: float, caller: str | None) -> None:
    """Writes one line to the access log. It names the route, because the path may hold anything."""
    if access.isEnabledFor(logging.INFO):
        milliseconds = round(seconds * 1000, 2)
        fields = {"method": method, "route": route, "status": status, "milliseconds": milliseconds, "caller": caller}
        access.info("answered", extra={"fields": fields})
