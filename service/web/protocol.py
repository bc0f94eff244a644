"""uvicorn's HTTP protocol with the bounds that it lacks, and without protocol upgrades.

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

MAX_HEAD_BYTES = 64 * 1024
HEAD_SECONDS = 15.0
# How long the rest of a body may take to arrive once its request has been answered.
UNREAD_BODY_SECONDS = 10.0
# A client that takes less than this many bytes of an answer in this time is cut off: 0.5 kB a second.
WRITE_SECONDS = 30.0
MIN_WRITTEN_BYTES = 16 * 1024
# Of one process. By default Linux allows it 1,024 open files, of which the database takes up to 25.
MAX_CONNECTIONS = 512


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection that is too slow, or whose bytes two parsers could read differently.

    Three deadlines hold: for the request line with its headers, for the part of a body that the application does not
    read, and for the client's reading of the answer. A connection beyond `MAX_CONNECTIONS` is answered with 503.
    """

    _head_bytes = 0
    _in_body = False
    _bytes_before = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_deadline, self._body_deadline, self._write_deadline = (_Deadline(self.loop) for _ in range(3))

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            self.logger.warning("More than %d connections.", MAX_CONNECTIONS)
            self.app = _busy
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if not self._in_body:
            if not self._head_deadline.is_running:
                self._expect_head()
            # The read that ends the head may contain a body too, so the head may exceed the bound by one read.
            self._head_bytes += len(data)
            if self._head_bytes - len(data) > MAX_HEAD_BYTES:
                self._close()
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
        if not self._in_body:  # a trailer after the body is not a header of the request
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return  # `_parse` parses this head again
        self._check_head()
        super().on_headers_complete()
        self._in_body = True
        self._head_deadline.stop()

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._in_body, self._head_bytes = False, 0
        super().on_message_complete()
        self._body_deadline.stop()
        if self.cycle.response_complete:
            self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body and self.cycle.response_complete:
            self._body_deadline.start(UNREAD_BODY_SECONDS, self._close)
        self._start_write_deadline()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_deadline()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._start_write_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for deadline in (self._head_deadline, self._body_deadline, self._write_deadline):
            deadline.stop()

    def _parse(self, rest: memoryview) -> None:
        """Drops an offered upgrade and parses the rest of its request. Raises `httptools.HttpParserError`."""
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                if self.parser.get_method() == b"CONNECT":
                    raise httptools.HttpParserError("CONNECT is not supported") from None
                rest = rest[upgrade.args[0] :]
                head = self._head_without_upgrade()
                self.parser = _parser(self)
                self.parser.feed_data(head)
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        headers = (b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, b"".join(headers))

    def _check_head(self) -> None:
        """Raises `ValueError`, which stops the parser, if another server could read another length or host."""
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
        """Closes, and answers 400 first unless the client could take that for the answer to another request."""
        answered = self.cycle is None or self.cycle.response_complete
        may_answer = not (self.cycle.response_started if self._in_body else not answered)
        if self.pipeline or not may_answer:
            self.transport.close()
        else:
            self.send_400_response("Invalid HTTP request received.")

    def _expect_head(self) -> None:
        self._head_deadline.start(HEAD_SECONDS, self._head_timed_out)

    def _head_timed_out(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self._close()
        else:  # the client still waits for an answer
            self._expect_head()

    def _close(self) -> None:
        self._head_deadline.stop()
        if not self.transport.is_closing():
            self.transport.close()

    def _start_write_deadline(self) -> None:
        """Starts the deadline for the client's reading while it has not read all that is to be sent."""
        self._write_deadline.stop()
        answered = self.cycle is None or self.cycle.response_complete
        if self.flow.write_paused or (answered and self.transport.get_write_buffer_size()):
            self._bytes_before = self._bytes_to_send()
            self._write_deadline.start(WRITE_SECONDS, self._check_write_progress)

    def _check_write_progress(self) -> None:
        is_all_sent = not self.transport.get_write_buffer_size()
        if is_all_sent or self._bytes_before - self._bytes_to_send() >= MIN_WRITTEN_BYTES:
            self._start_write_deadline()
            return
        # A reset, because after an orderly close the kernel would keep waiting for the client.
        reset = struct.pack("ii", 1, 0)
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        self.transport.abort()

    def _bytes_to_send(self) -> int:
        """Bytes that the client has not received: those buffered here, and in the kernel, which buffers megabytes."""
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
    def is_running(self) -> bool:
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
