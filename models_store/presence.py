"""Worker status: each worker sends a heartbeat to the broker, where it expires once the worker stops.

Nothing is decided by it: trials are claimed by their leases in the database. It is there to be looked at.
"""

from dataclasses import asdict, dataclass
from json import JSONDecodeError, dumps, loads

from redis import Redis

PREFIX = "dermatriage.worker."
TOLD_EVERY_SECONDS = 10.0
# Two messages may be lost on the way before a worker is taken for gone.
FORGOTTEN_AFTER_SECONDS = 35.0
MOST_WORKERS = 1000


@dataclass(frozen=True)
class Presence:
    """What a worker says of itself. `gpus` are the numbers of those it owns; without any its slots are on its cores."""

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


def tell(broker: Redis, presence: Presence, lasts_seconds: float = FORGOTTEN_AFTER_SECONDS) -> None:
    """Raises `redis.RedisError` while the broker is away."""
    broker.set(PREFIX + presence.name, dumps(asdict(presence)), px=int(lasts_seconds * 1000))


def take_back(broker: Redis, name: str) -> None:
    """Says that the worker is gone, without waiting until it is forgotten."""
    broker.delete(PREFIX + name)


def present(broker: Redis) -> list[tuple[Presence, float]]:
    """The active workers by name, each with the age of its heartbeat in seconds, by the broker's clock."""
    found = []
    for key in broker.scan_iter(PREFIX + "*", count=MOST_WORKERS):
        told, left = broker.get(key), broker.pttl(key)
        if told is not None and left > 0 and (presence := _read(told)) is not None:
            found.append((presence, max(0.0, FORGOTTEN_AFTER_SECONDS - left / 1000)))
    return sorted(found, key=lambda heard: heard[0].name)[:MOST_WORKERS]


def _read(told: bytes | str) -> Presence | None:
    """None for what a worker of another version told in another form."""
    try:
        values = loads(told)
        return Presence(**values | {"queues": tuple(values["queues"]), "gpus": tuple(values["gpus"])})
    except (JSONDecodeError, TypeError, KeyError):
        return None
