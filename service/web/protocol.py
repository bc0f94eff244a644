"""uvicorn's HTTP protocol with bounds that it lacks, and without any change of protocol.

A request that offers another protocol (``Upgrade``) is answered as if it offered none (RFC 9110, section 7.8):
httptools would stop at the end of its head and take its body for the next request.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httptools
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.errors import Problem

MOST_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 15.0
# How long the rest of a body may take to arrive once its request has been answered.
UNREAD_BODY_SECONDS = 10.0
# A client that takes less than this many bytes of an answer in this time is cut off: 0.5 kB a second.
WRITE_SECONDS = 30.0
LEAST_WRITTEN_BYTES = 16 * 1024
# Of one process. Linux lets a process open 1,024 files unless told otherwise, and the database takes up to 25.
MOST_CONNECTIONS = 512


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection that is too slow or brings what two parsers could read differently.

    The request line and headers, the part of a body that nobody reads, and the client's reading of the answer each have
    a deadline. A connection beyond the most there may be is answered with 503.
    """

    _head_bytes = 0
    _in_body = False
    _bytes_before = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._late, self._unread, self._unwritten = (_Deadline(self.loop) for _ in range(3))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self.logger.warning("More than %d connections.", MOST_CONNECTIONS)
            self.app = _busy
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if not self._in_body:
            if not self._late.runs:
                self._expect_head()
            # Data that brings the end of the head may bring a body too, so the bound is loose by one read.
            self._head_bytes += len(data)
            if self._head_bytes - len(data) > MOST_HEAD_BYTES:
                self._give_up()
                return
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserError as error:
            self.logger.warning("Invalid HTTP request received: %s", error)
            self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # what follows a body is no header of the request
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # `_parse` reads this head once more
        self._check_head()
        super().on_headers_complete()
        self._in_body = True
        self._late.stop()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_body, self._head_bytes = False, 0
        super().on_message_complete()
        self._unread.stop()
        if self.cycle.response_complete:
            self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:
            self._unread.start(UNREAD_BODY_SECONDS, self._give_up)
        self._watch_writing()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_writing()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._watch_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for deadline in (self._late, self._unread, self._unwritten):
            deadline.stop()

    def _parse(self, rest: memoryview) -> None:
        """Raises `httptools.HttpParserError`. An offer of another protocol is dropped, and its request read on."""
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                if self.parser.get_method() == b"CONNECT":
                    raise httptools.HttpParserError("CONNECT is not supported") from None
                rest = rest[offer.args[0] :]
                head = self._head_without_offer()
                self.parser = _parser(self)
                self.parser.feed_data(head)
            else:
                return

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        headers = (b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, b"".join(headers))

    def _check_head(self) -> None:
        """Raises `ValueError`, which stops the parser, where other servers could see another end or another host."""
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise ValueError(f"HTTP/{version} is not supported")
        encodings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        if encodings and (encodings != [b"chunked"] or version == "1.0"):
            raise ValueError("the only transfer encoding is chunked, and not in HTTP/1.0")
        hosts = sum(name == b"host" for name, _ in self.headers)
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            raise ValueError("the request needs exactly one Host header")

    def _refuse(self) -> None:
        """Answers 400 where that cannot be taken for the answer to another request, and closes."""
        answered = self.cycle is None or self.cycle.response_complete
        is_its_turn = not (self.cycle.response_started if self._in_body else not answered)
        if self.pipeline or not is_its_turn:
            self.transport.close()
        else:
            self.send_400_response("Invalid HTTP request received.")

    def _expect_head(self) -> None:
        self._late.start(HEAD_SECONDS, self._miss_head)

    def _miss_head(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._give_up()
        else:  # the client has an answer to wait for
            self._expect_head()

    def _give_up(self) -> None:
        self._late.stop()
        if not self.transport.is_closing():
            self.transport.close()

    def _watch_writing(self) -> None:
        """Starts the time in which the client has to take something, where more is to be sent than it takes."""
        self._unwritten.stop()
        answered = self.cycle is None or self.cycle.response_complete
        if self.flow.write_paused or (answered and self.transport.get_write_buffer_size()):
            self._bytes_before = self._bytes_to_send()
            self._unwritten.start(WRITE_SECONDS, self._check_writing)

    def _check_writing(self) -> None:
        nothing_is_left = not self.transport.get_write_buffer_size()
        if nothing_is_left or self._bytes_before - self._bytes_to_send() >= LEAST_WRITTEN_BYTES:
            self._watch_writing()
            return
        # A reset instead of an orderly end, for which the kernel would wait as long as the client takes.
        reset = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        self.transport.abort()

    def _bytes_to_send(self) -> int:
        """What the client has yet to take, here and in the kernel, which takes from here by the megabyte."""
        in_kernel = bytearray(4)
        with suppress(OSError):
            fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, in_kernel)
        return self.transport.get_write_buffer_size() + int.from_bytes(in_kernel, "little")


class _Deadline:
    """A timer that can be started again."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    @property
    def runs(self) -> bool:
        return self._timer is not None

    def start(self, seconds: float, then: Callable[[], None]) -> None:
        self.stop()
        self._timer = self._loop.call_later(seconds, then)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _parser(protocol: HttpToolsProtocol) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(protocol)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn
    return parser


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    busy = Problem("too-many-connections", headers={"Retry-After": "5", "Connection": "close"})
    await busy.response(Request(scope))(scope, receive, send)
