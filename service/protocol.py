"""uvicorn's HTTP protocol with bounds that it lacks: how long the head of a request may be, and may take."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 15.0


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose request line and headers are too long, or not there in time."""

    _head_bytes = 0
    _in_body = False
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            if self._late is None:
                self._expect_head()
            # Data that brings the end of the head may bring a body too, so the bound is loose by one read.
            self._head_bytes += len(data)
            if self._head_bytes - len(data) > MOST_HEAD_BYTES:
                self._give_up()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        self._in_body = True
        self._head_arrived()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body, self._head_bytes = False, 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_arrived()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._late = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _head_arrived(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self, *_: Any) -> None:
        self._head_arrived()
        if not self.transport.is_closing():
            self.transport.close()
