"""Ports of this machine: a free one, or whether a wanted one can be had."""

import socket
from contextlib import closing


class PortTaken(RuntimeError):
    """Another program listens on the port of the web server, or the address is not this machine's."""


def free(host: str = "127.0.0.1") -> int:
    return claimable(host, 0)


def claimable(host: str, port: int) -> int:
    """The port if a server could listen on it now; a free one for port 0. Raises `PortTaken`."""
    try:
        with closing(_bound(host, port)) as listener:
            number: int = listener.getsockname()[1]
            return number
    except OSError as error:
        raise PortTaken(
            f"the web server cannot listen on {host}:{port} ({error.strerror or error}); choose another port with "
            "`dermatriage up --port 8001`, or DERMATRIAGE_PORT=8001 before any command"
        ) from error


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
