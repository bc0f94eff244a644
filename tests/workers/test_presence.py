"""A worker is active until it stops."""

from threading import Thread

from redis import Redis

from models_store.broker import broker
from models_store.database import Database
from models_store.presence import EXPIRY_SECONDS, PREFIX, present
from models_store.settings import Settings
from models_store.store.storage import Storage
from tests.end_to_end.stack import eventually
from workers.worker.announcing import heartbeats_until_stopped, presence_of
from workers.worker.context import Worker


def a_worker(broker_url: str, **changes: str) -> Worker:
    settings = Settings(broker_url=broker_url, _env_file=None, **changes)
    return Worker(settings, Database("sqlite://"), Storage("memory://presence"), broker(settings))


def names(redis: Redis) -> list[str]:
    return [presence.name for presence, _ in present(redis)]


def test_a_worker_is_active_until_it_stops(broker_url: str) -> None:
    worker = a_worker(broker_url)
    with Redis.from_url(broker_url) as redis:
        thread = Thread(target=heartbeats_until_stopped, args=(worker, presence_of(worker), 0.05))
        thread.start()
        eventually(lambda: worker.name in names(redis), 10, "the presence of the worker")
        (presence, age) = next(each for each in present(redis) if each[0].name == worker.name)
        assert (presence.slots, presence.gpus, presence.queues) == (1, (), ("cpu",))
        assert 0 <= age < EXPIRY_SECONDS
        worker.stopping.set()
        thread.join(10)
        assert not thread.is_alive()
        assert worker.name not in names(redis)


def test_a_worker_with_gpus_has_a_slot_on_each() -> None:
    presence = presence_of(a_worker("redis://127.0.0.1:1/0", gpus="0,2"))
    assert (presence.slots, presence.gpus, presence.queues) == (2, ("0", "2"), ("cpu", "gpu"))


def test_a_heartbeat_of_another_version_is_left_out(broker_url: str) -> None:
    with Redis.from_url(broker_url) as redis:
        for number, content in enumerate((b"{}", b"not json", b"[1]", b'{"name": "x", "queues": 1, "gpus": []}')):
            redis.set(f"{PREFIX}odd{number}", content, px=5000)
        assert not any(name.startswith("odd") for name in names(redis))
        redis.delete(*(f"{PREFIX}odd{number}" for number in range(4)))


def test_an_unreachable_broker_ends_no_worker() -> None:
    worker = a_worker("redis://127.0.0.1:1/0")
    worker.stopping.set()
    heartbeats_until_stopped(worker, presence_of(worker), 0.01)
