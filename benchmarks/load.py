"""Clients that upload images one after the other, each on a connection of its own, and time every answer.

Requests are made beforehand and answers are not parsed beyond their length, so that the
client takes a small part of the machine that it shares with the server.
"""

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
BOUNDARY = b"----------------------------7d83f1c0"


@dataclass
class Load:
    """What the clients saw: milliseconds of each answer, and how many were no 200."""

    seconds: float = 0.0
    milliseconds: list[float] = field(default_factory=list)
    failed: int = 0

    @property
    def per_second(self) -> float:
        return len(self.milliseconds) / self.seconds

    def percentile(self, share: float) -> float:
        return float(np.percentile(self.milliseconds, share))


def upload(image: bytes, port: int, headers: Sequence[tuple[str, str]] = (), path: str = "/predict") -> bytes:
    """A whole HTTP request that brings one PNG as the multipart field `file`."""
    body = (
        b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="file"; filename="lesion.png"\r\n'
        b"Content-Type: image/png\r\n\r\n" + image + b"\r\n--" + BOUNDARY + b"--\r\n"
    )
    head = [
        f"POST {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in headers),
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def measure(port: int, requests: Sequence[bytes], clients: int, seconds: float) -> Load:
    """Closed loop: each client sends its next request when the last one is answered, and none after `seconds`."""
    load = Load()
    asyncio.run(_clients(port, requests, clients, seconds, load))
    return load


async def _clients(port: int, requests: Sequence[bytes], clients: int, seconds: float, load: Load) -> None:
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    connections = [Client(requests[number::clients] or requests, began + seconds, load) for number in range(clients)]
    for client in connections:
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
    await asyncio.gather(*(client.ended for client in connections))
    load.seconds = time.perf_counter() - began


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: Sequence[bytes], until: float, load: Load) -> None:
        self._requests, self._until, self._load = requests, until, load
        self._sent = 0
        self._received = b""
        self._whole: int | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._whole is None and (end := self._received.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._received, 0, end + 2)
            assert length is not None, "an answer without its length"
            self._whole = end + 4 + int(length[1])
        if self._whole is not None and len(self._received) >= self._whole:
            self._answered()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or ConnectionError("the server closed the connection"))

    def _answered(self) -> None:
        now = time.perf_counter()
        self._load.milliseconds.append((now - self._began) * 1000)
        self._load.failed += not self._received.startswith(b"HTTP/1.1 200")
        if now < self._until:
            self._send()
        else:
            self.ended.set_result(None)
            self._transport.close()

    def _send(self) -> None:
        self._received, self._whole = b"", None
        self._began = time.perf_counter()
        self._transport.write(self._requests[self._sent % len(self._requests)])
        self._sent += 1
