"""Whether the processes of the embedded stack do their work yet."""

from contextlib import closing, suppress

import httpx
from redis import Redis
from redis.exceptions import RedisError

from models_store.broker import CONTROL_QUEUE


def broker_answers(url: str) -> bool:
    with suppress(RedisError), closing(Redis.from_url(url, socket_timeout=2)) as redis:
        return bool(redis.ping())
    return False


def worker_listens(url: str) -> bool:
    # The set in which kombu's Redis transport keeps the queues bound to an exchange; the first consumer makes it.
    with suppress(RedisError), closing(Redis.from_url(url, socket_timeout=2)) as redis:
        return bool(redis.exists(f"_kombu.binding.{CONTROL_QUEUE}"))
    return False


def web_answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(f"{url}/healthz", timeout=2, trust_env=False).is_success
    return False
