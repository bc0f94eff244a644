"""Slow connections: slow senders, slow readers, and many incomplete requests."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from benchmarks.attack import wire
from benchmarks.attack.findings import Attack, Finding, Turn
from benchmarks.attack.target import Target
from benchmarks.attack.uploads import MAX_GROWTH_MB, MEMORY

CLOSED_SECONDS = 22.0
HEALTH_SECONDS = 1.0
HALF_OPEN = 200
READERS = 100


def slow_body(target: Target) -> Finding:
    """A body of one byte a second, of a request that was answered with 401 before any of it came."""
    with _connected(target, wire.head("POST", target.predict, "Content-Length: 1000000")) as connection:
        connection.settimeout(5)
        statuses = wire.statuses(connection.recv(65536))
        seconds = _seconds_open(connection, drip=b"x")
    return Finding(statuses == [401] and seconds < CLOSED_SECONDS, f"answered {statuses}, {_closing(seconds)}")


def slow_head(target: Target) -> Finding:
    """A header of one byte a second."""
    with _connected(target, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: ") as connection:
        seconds = _seconds_open(connection, drip=b"x")
    return Finding(seconds < CLOSED_SECONDS, _closing(seconds))


def slow_readers(target: Target) -> Finding:
    """The clients never read; the responses must not fill the memory of the server."""
    address, length = _largest_asset(target)
    request = wire.head("GET", address)

    def act() -> tuple[int, float]:
        with ExitStack() as readers:
            for _ in range(READERS):
                readers.enter_context(_connected(target, request, receive_buffer=4096))
            time.sleep(1)
            return _health(target)

    (status, seconds), grown = target.peak(act)
    held = grown <= MAX_GROWTH_MB and seconds <= HEALTH_SECONDS
    summary = f"{READERS} of {length:,} bytes: {grown:+,.0f} MB at the peak; /healthz {status} in {seconds:.2f} s"
    return Finding(held, summary)


def half_open(target: Target) -> Finding:
    """Incomplete heads: other requests are answered meanwhile, and all connections are closed in the end."""
    with ExitStack() as opened:
        begun = b"GET /healthz HTTP/1.1\r\nHost: loc"
        waiting = [opened.enter_context(_connected(target, begun)) for _ in range(HALF_OPEN)]
        started = time.monotonic()
        status, seconds = max(_health(target) for _ in range(5))
        left = sum(_seconds_open(one, started=started) >= CLOSED_SECONDS for one in waiting)
    held = seconds <= HEALTH_SECONDS and left == 0
    summary = f"/healthz {status} in {seconds:.2f} s at most; {left} still open after {CLOSED_SECONDS:.0f} s"
    return Finding(held, summary)


ATTACKS = (
    Attack(f"{READERS} who ask for a file and never read", MEMORY, slow_readers, Turn.ALONE),
    Attack("body of 1 byte/s after a 401", f"still open after {CLOSED_SECONDS:.0f} s", slow_body),
    Attack("head of 1 byte/s", f"still open after {CLOSED_SECONDS:.0f} s", slow_head),
    Attack(f"{HALF_OPEN} half-open heads", f"/healthz takes {HEALTH_SECONDS:g} s, or they stay", half_open),
)


@contextmanager
def _connected(target: Target, first: bytes, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as connection:
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(5)
        connection.connect((wire.LOCAL, target.port))
        connection.sendall(first)
        yield connection


def _seconds_open(connection: socket.socket, drip: bytes = b"", started: float | None = None) -> float:
    """Until the server closes the connection, at most `CLOSED_SECONDS`; `drip` is sent once a second."""
    started = time.monotonic() if started is None else started
    connection.settimeout(1.0)
    with suppress(ConnectionError):
        while time.monotonic() - started < CLOSED_SECONDS:
            with suppress(TimeoutError):
                if not connection.recv(65536):
                    break
            if drip:
                connection.sendall(drip)
    return min(time.monotonic() - started, CLOSED_SECONDS)


def _closing(seconds: float) -> str:
    return f"closed after {seconds:.1f} s" if seconds < CLOSED_SECONDS else f"still open after {seconds:.0f} s"


def _health(target: Target) -> tuple[int, float]:
    """The status of /healthz, and the seconds that it took."""
    with target.client() as client:
        started = time.monotonic()
        return client.get("/healthz").status_code, time.monotonic() - started


def _largest_asset(target: Target) -> tuple[str, int]:
    """The address of the largest file that pages load, and its length."""
    with target.client(target.key("read"), Accept="text/html") as client:
        page = client.get(f"/experiments/{target.models[0].removeprefix('mdl_')}").text
        addresses = {part.split('"')[0] for part in page.split('"') if part.startswith("/static/")}
        lengths = {address: len(client.get(address).content) for address in addresses}
    return max(lengths.items(), key=lambda found: found[1])
