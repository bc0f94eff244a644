"""How often a sweep had to leave an experiment aside: counted at the broker, where every process can read it."""

from redis import Redis

KEY = "dermatriage.sweep.failures"


def count_failure(broker: Redis) -> None:
    """Raises `redis.RedisError` while the broker is away."""
    broker.incr(KEY)


def failures(broker: Redis) -> int:
    return int(broker.get(KEY) or 0)
