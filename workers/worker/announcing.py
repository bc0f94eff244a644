"""Tells the broker beside the Celery worker that this worker is there, and what it has room for."""

import logging
import os
import platform
import socket
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from threading import Thread

from redis.exceptions import RedisError

from models_store.broker import redis_at
from models_store.presence import TOLD_EVERY_SECONDS, Presence, take_back, tell
from models_store.version import commit
from workers.worker.context import Worker, queues, slots

log = logging.getLogger(__name__)
PATIENCE_SECONDS = 5.0


def presence_of(worker: Worker) -> Presence:
    room = slots(worker.settings)
    return Presence(
        name=worker.name,
        host=socket.gethostname(),
        queues=tuple(queues(worker.settings)),
        slots=len(room),
        gpus=tuple(slot.gpu for slot in room if slot.gpu is not None),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        version=version("dermatriage"),
        commit=commit(),
        started_at=datetime.now(UTC).isoformat(),
    )


def tell_in_background(worker: Worker) -> None:
    Thread(target=tell_until_stopped, args=(worker, presence_of(worker)), name="presence", daemon=True).start()


def tell_until_stopped(worker: Worker, presence: Presence, every_seconds: float = TOLD_EVERY_SECONDS) -> None:
    """Retries while the broker is away."""
    with redis_at(worker.settings.broker_url, PATIENCE_SECONDS) as broker:
        while True:
            try:
                tell(broker, presence)
            except RedisError as error:
                log.warning("the broker was not told of this worker: %s", error)
            if worker.stopping.wait(every_seconds):
                break
        with suppress(RedisError):
            take_back(broker, presence.name)
