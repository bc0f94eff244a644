"""A worker is seen while it is there, and not after it stopped."""

from threading import Thread

from redis import Redis

from models_store.broker import broker
from models_store.database import Database
from models_store.presence import FORGOTTEN_AFTER_SECONDS, PREFIX, present
from models_store.settings import Settings
from models_store.store.storage import Storage
from tests.end_to_end.stack import eventually
from workers.worker.announcing import presence_of, tell_until_stopped
from workers.worker.context import Worker


def a_worker(broker_url: str, **changes: str) -> Worker:
    settings = Settings(broker_url=broker_url, _env_file=None, **changes)
    return Worker(settings, Database("sqlite://"), Storage("memory://presence"), broker(settings))


def names(redis: Redis) -> list[str]:
    return [presence.name for presence, _ in present(redis)]


def test_a_worker_is_present_until_it_stops(broker_url: str) -> None:
    worker = a_worker(broker_url)
    with Redis.from_url(broker_url) as redis:
        teller = Thread(target=tell_until_stopped, args=(worker, presence_of(worker), 0.05))
        teller.start()
        eventually(lambda: worker.name in names(redis), 10, "the presence of the worker")
        (presence, age) = next(heard for heard in present(redis) if heard[0].name == worker.name)
        assert (presence.slots, presence.gpus, presence.queues) == (1, (), ("cpu",))
        assert 0 <= age < FORGOTTEN_AFTER_SECONDS
        worker.stopping.set()
        teller.join(10)
        assert not teller.is_alive()
        assert worker.name not in names(redis)


def test_a_worker_with_gpus_has_a_slot_on_each() -> None:
    presence = presence_of(a_worker("redis://127.0.0.1:1/0", gpus="0,2"))
    assert (presence.slots, presence.gpus, presence.queues) == (2, ("0", "2"), ("cpu", "gpu"))


def test_what_another_version_told_is_left_out(broker_url: str) -> None:
    with Redis.from_url(broker_url) as redis:
        for number, told in enumerate((b"{}", b"not json", b"[1]", b'{"name": "x", "queues": 1, "gpus": []}')):
            redis.set(f"{PREFIX}odd{number}", told, px=5000)
        assert not any(name.startswith("odd") for name in names(redis))
        redis.delete(*(f"{PREFIX}odd{number}" for number in range(4)))


def test_a_broker_that_is_away_ends_no_worker() -> None:
    worker = a_worker("redis://127.0.0.1:1/0")
    worker.stopping.set()
    tell_until_stopped(worker, presence_of(worker), 0.01)
