"""HTTP/1.1 as bytes on a socket, which no well-behaved client would send."""

import re
import socket
import time
from contextlib import suppress

LOCAL = "127.0.0.1"
STATUS = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d)\b")
BETWEEN_PACKETS_SECONDS = 0.1


def head(method: str, path: str, *lines: str) -> bytes:
    """A request's head; `lines` are sent as they are, latin-1."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode("latin-1")


def bearer(key: str) -> str:
    return f"Authorization: Bearer {key}"


def exchange(port: int, *parts: bytes, patience: float = 5.0, quiet: float = 0.7) -> bytes:
    """The whole response to `parts`, a packet each: until the server closes, or sends nothing for `quiet` seconds.

    The first byte may take `patience` seconds.
    """
    received = b""
    with socket.create_connection((LOCAL, port), patience) as connection, suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number, part in enumerate(parts):
            time.sleep(BETWEEN_PACKETS_SECONDS if number else 0)
            connection.sendall(part)
        while more := connection.recv(65536):
            received += more
            connection.settimeout(quiet)
    return received


def statuses(received: bytes) -> list[int]:
    """The statuses of every final answer in what came back."""
    return [int(found) for found in STATUS.findall(received)]


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def form(content: bytes, name: bytes = b"file", filename: bytes = b"lesion.png", boundary: bytes = b"edge") -> bytes:
    """One file as the body of a multipart form."""
    disposition = b'Content-Disposition: form-data; name="%b"; filename="%b"' % (name, filename)
    return b"--%b\r\n%b\r\nContent-Type: image/png\r\n\r\n%b\r\n--%b--\r\n" % (boundary, disposition, content, boundary)


def upload(path: str, key: str, content: bytes) -> bytes:
    """A whole request that uploads one file."""
    body = form(content)
    kind = "Content-Type: multipart/form-data; boundary=edge"
    return head("POST", path, bearer(key), kind, f"Content-Length: {len(body)}") + body
