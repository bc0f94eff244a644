"""Ports of this machine, and whether the processes of the embedded stack answer yet."""

import socket
from contextlib import closing, suppress

import httpx
from redis.exceptions import RedisError

from models_store.broker import redis_at


class PortTaken(RuntimeError):
    """Another program listens on the port of the web server, or the address is not this machine's."""


def free(host: str = "127.0.0.1") -> int:
    """A port that, on Linux, nobody else is given for a minute, by which time our own server listens on it.

    A connection that its server closes first leaves the port in TIME_WAIT: the kernel then gives it to no program that
    leaves the choice to it, and yet lets a server listen that names it, with SO_REUSEADDR as servers do.
    Raises `PortTaken`.
    """
    with closing(_bound(host, 0)) as listener:
        listener.listen(1)
        with socket.create_connection(listener.getsockname()[:2]), closing(listener.accept()[0]):
            return int(listener.getsockname()[1])


def usable_port(host: str, port: int) -> int:
    """The port if a server could listen on it now; a free one for port 0. Raises `PortTaken`."""
    if port == 0:
        return free(host)
    _bound(host, port).close()
    return port


def _bound(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(
            f"the web server cannot listen on {host}:{port} ({error.strerror or error}); choose another port with "
            "`dermatriage up --port 8001`, or DERMATRIAGE_PORT=8001 before any command"
        ) from error
    return listener


def broker_answers(url: str) -> bool:
    with suppress(RedisError), redis_at(url) as redis:
        return bool(redis.ping())
    return False


def worker_consumes(url: str, queue: str) -> bool:
    # The set in which kombu's Redis transport keeps the queues bound to an exchange; the first consumer makes it.
    with suppress(RedisError), redis_at(url) as redis:
        return bool(redis.exists(f"_kombu.binding.{queue}"))
    return False


def web_answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/healthz", timeout=2, trust_env=False).is_success
    return False
