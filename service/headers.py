"""Security headers on every answer, and the most bytes a request may bring."""

import asyncio

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SecurityHeaders:
    """Adds every header that the answer does not set by itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)


class BodyLimit:
    """Refuses a request with 413 as soon as it is known to bring more than allowed, whatever it announced.

    A body that has not arrived after `seconds` is refused with 408. `larger` allows more at single addresses.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, seconds: float, larger: dict[str, int]) -> None:
        self.app, self.max_bytes, self.seconds, self.larger = app, max_bytes, seconds, larger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        received, whole = 0, False
        most = self.larger.get(scope["path"], self.max_bytes)
        deadline = asyncio.get_running_loop().time() + self.seconds

        async def receive_within_limit() -> Message:
            nonlocal received, whole
            if whole:  # what follows a body is only that the client has gone
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                late = f"the body did not arrive within {self.seconds:g} seconds"
                raise HTTPException(408, late, {"Connection": "close"}) from None
            received += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if received > most:
                raise HTTPException(413, f"the request has more than {most:,} bytes")
            return message

        await self.app(scope, receive_within_limit, send)
