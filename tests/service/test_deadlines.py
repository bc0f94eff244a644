"""No client keeps a connection open without limit: heads, bodies and the reading of answers have deadlines."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import uvicorn
from starlette.exceptions import HTTPException
from uvicorn.server import ServerState

from service.web import protocol
from service.web.limits import BodyLimit, Bounds
from tests.service.served import served
from tests.service.test_sockets import Address, connected, rest_of, statuses

HOST = b"Host: 127.0.0.1\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
POST = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000000\r\n\r\n"
LARGE = 64 * 2**20


async def answer_at_once(scope: Any, _receive: Any, send: Any) -> None:
    """Answers 401 without reading the body, as for a request without a key."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 401, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"no"})


async def answer_late(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await asyncio.sleep(0.3)
        await answer_at_once(scope, _receive, send)


async def answer_much(scope: Any, _receive: Any, send: Any) -> None:
    """An answer that no buffer on the way holds."""
    if scope["type"] == "http":
        headers = [(b"content-length", str(LARGE).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for part in range(64):
            await send({"type": "http.response.body", "body": b"a" * 2**20, "more_body": part < 63})


async def answer_much_at_once(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        headers = [(b"content-length", str(LARGE).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"a" * LARGE})


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "UNREAD_BODY_SECONDS", 0.1)
    monkeypatch.setattr(protocol, "WRITE_SECONDS", 0.1)


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Iterator[Address]:
    with served(request.param) as url:
        yield "127.0.0.1", int(url.rpartition(":")[2])


def drip(connection: socket.socket) -> None:
    """Sends a byte every now and then until the server closes."""
    deadline = time.monotonic() + 5
    try:
        while time.monotonic() < deadline:
            connection.sendall(b"a")
            time.sleep(0.02)
    except ConnectionError:
        return
    raise AssertionError("the server took byte after byte")


@pytest.mark.parametrize("address", [answer_at_once], indirect=True)
def test_a_body_that_nobody_reads_holds_no_connection(address: Address) -> None:
    with connected(address) as connection:
        connection.sendall(POST)
        assert statuses(connection.recv(1000)) == [401]
        drip(connection)


@pytest.mark.parametrize("address", [answer_at_once], indirect=True)
def test_a_body_that_nobody_reads_but_that_ends_soon_leaves_its_connection_open(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "UNREAD_BODY_SECONDS", 60.0)
    with connected(address) as connection:
        for _ in range(3):
            connection.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nhello")
            assert statuses(connection.recv(1000)) == [401]
            connection.sendall(b"world")


@pytest.mark.parametrize("address", [answer_at_once], indirect=True)
def test_a_connection_whose_body_ended_after_the_answer_is_closed_when_it_stays_idle(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    with connected(address) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nhello")
        assert statuses(connection.recv(1000)) == [401]
        connection.sendall(b"world")
        assert rest_of(connection) == b""


@pytest.mark.parametrize("address", [answer_much, answer_much_at_once], indirect=True)
def test_a_client_that_reads_nothing_of_a_long_answer_is_cut_off(address: Address) -> None:
    with connected(address) as connection:
        connection.sendall(GET)
        deadline = time.monotonic() + 5
        while _is_established(connection):
            assert time.monotonic() < deadline, "the server waits for as long as the client likes"
            time.sleep(0.02)


@pytest.mark.parametrize("address", [answer_late], indirect=True)
def test_the_beginning_of_a_next_request_cuts_off_no_answer(address: Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    with connected(address) as connection:
        connection.sendall(GET)
        time.sleep(0.02)
        connection.sendall(b"GET /")
        assert statuses(rest_of(connection)) == [401]


class Pretended:
    """A transport with something left to write."""

    def __init__(self, left: int) -> None:
        self.left, self.aborted = left, False
        self.socket, _ = self.pair = socket.socketpair()

    def get_write_buffer_size(self) -> int:
        return self.left

    def get_extra_info(self, name: str) -> Any:
        return self.socket if name == "socket" else None

    def abort(self) -> None:
        self.aborted = True


def test_a_client_that_reads_slowly_goes_on_until_it_stops() -> None:
    async def read_slowly() -> None:
        slow = protocol.BoundedProtocol(uvicorn.Config(answer_much), ServerState(), {})
        transport = Pretended(10 * protocol.MIN_WRITTEN_BYTES)
        slow.connection_made(transport)  # type: ignore[arg-type]
        slow.pause_writing()
        for _ in range(9):
            transport.left -= protocol.MIN_WRITTEN_BYTES
            slow._check_write_progress()
            assert not transport.aborted
        transport.left -= 1
        slow._check_write_progress()
        assert transport.aborted
        for end in transport.pair:
            end.close()

    asyncio.run(read_slowly())


def test_a_client_that_has_taken_the_little_that_was_left_is_not_cut_off() -> None:
    async def read_all() -> None:
        quick = protocol.BoundedProtocol(uvicorn.Config(answer_much), ServerState(), {})
        transport = Pretended(10)
        quick.connection_made(transport)  # type: ignore[arg-type]
        quick._start_write_deadline()
        transport.left = 0
        quick._check_write_progress()
        assert not transport.aborted
        for end in transport.pair:
            end.close()

    asyncio.run(read_all())


@pytest.mark.parametrize("address", [answer_at_once], indirect=True)
def test_a_connection_beyond_the_limit_is_answered_with_503_while_the_others_go_on(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MAX_CONNECTIONS", 3)
    with ExitStack() as held:
        there = [held.enter_context(connected(address)) for _ in range(3)]
        for connection in there:
            connection.sendall(GET)
            assert statuses(connection.recv(1000)) == [401]
        with connected(address) as one_too_many:
            one_too_many.sendall(GET)
            refused = rest_of(one_too_many)
        assert statuses(refused) == [503]
        assert b"retry-after: 5" in refused.lower()
        there[0].sendall(GET)
        assert statuses(there[0].recv(1000)) == [401]


def _is_established(connection: socket.socket) -> bool:
    """Whether this TCP connection is established, without reading from it (Linux)."""
    return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1


@pytest.mark.parametrize(("path", "in_time"), [("/v1/datasets", True), ("/predict", False)])
def test_an_address_may_have_a_deadline_of_its_own(path: str, in_time: bool) -> None:
    async def receive() -> Any:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"late"}

    async def read(_scope: Any, receive: Any, _send: Any) -> None:
        assert (await receive())["body"] == b"late"

    limited = BodyLimit(read, Bounds(100, seconds=0.01), larger={"/v1/datasets": Bounds(100, seconds=60)})
    handled = limited({"type": "http", "path": path}, receive, None)  # type: ignore[arg-type]
    if in_time:
        asyncio.run(handled)
    else:
        with pytest.raises(HTTPException) as late:
            asyncio.run(handled)
        assert late.value.status_code == 408
