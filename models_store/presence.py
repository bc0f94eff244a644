"""Worker status: each worker sends a heartbeat to the broker, where it expires once the worker stops.

It is for display only: no decision depends on it, because trials are claimed through leases in the database.
"""

from dataclasses import asdict, dataclass
from json import JSONDecodeError, dumps, loads

from redis import Redis

PREFIX = "dermatriage.worker."
HEARTBEAT_SECONDS = 10.0
# Two heartbeats may be lost before a worker no longer counts as active.
EXPIRY_SECONDS = 35.0
MAX_WORKERS = 1000


@dataclass(frozen=True)
class Presence:
    """The heartbeat of a worker. `gpus` are the numbers of its GPUs; a worker without any trains on its cores."""

    name: str
    host: str
    queues: tuple[str, ...]
    slots: int
    gpus: tuple[str, ...]
    cores: int
    python: str
    version: str
    commit: str
    started_at: str


def send_heartbeat(broker: Redis, presence: Presence, expiry_seconds: float = EXPIRY_SECONDS) -> None:
    """Raises `redis.RedisError` while the broker is away."""
    broker.set(PREFIX + presence.name, dumps(asdict(presence)), px=int(expiry_seconds * 1000))


def remove_heartbeat(broker: Redis, name: str) -> None:
    """Removes a stopped worker at once, before its heartbeat expires."""
    broker.delete(PREFIX + name)


def present(broker: Redis) -> list[tuple[Presence, float]]:
    """The active workers by name, each with the age of its heartbeat in seconds, by the broker's clock."""
    found = []
    for key in broker.scan_iter(PREFIX + "*", count=MAX_WORKERS):
        content, left = broker.get(key), broker.pttl(key)
        if content is not None and left > 0 and (presence := _read(content)) is not None:
            found.append((presence, max(0.0, EXPIRY_SECONDS - left / 1000)))
    return sorted(found, key=lambda worker: worker[0].name)[:MAX_WORKERS]


def _read(content: bytes | str) -> Presence | None:
    """None for the heartbeat of another version with other fields."""
    try:
        values = loads(content)
        return Presence(**values | {"queues": tuple(values["queues"]), "gpus": tuple(values["gpus"])})
    except (JSONDecodeError, TypeError, KeyError):
        return None
