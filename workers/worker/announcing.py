"""Sends the heartbeats of this worker to the broker, with its slots, GPUs and queues, beside the Celery worker."""

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
from models_store.presence import HEARTBEAT_SECONDS, Presence, remove_heartbeat, send_heartbeat
from models_store.version import commit
from workers.worker.context import Worker, queues, slots

log = logging.getLogger(__name__)
TIMEOUT_SECONDS = 5.0


def presence_of(worker: Worker) -> Presence:
    own_slots = slots(worker.settings)
    return Presence(
        name=worker.name,
        host=socket.gethostname(),
        queues=tuple(queues(worker.settings)),
        slots=len(own_slots),
        gpus=tuple(slot.gpu for slot in own_slots if slot.gpu is not None),
        cores=os.cpu_count() or 1,
        python=platform.python_version(),
        version=version("dermatriage"),
        commit=commit(),
        started_at=datetime.now(UTC).isoformat(),
    )


def heartbeats_in_background(worker: Worker) -> None:
    Thread(target=heartbeats_until_stopped, args=(worker, presence_of(worker)), name="presence", daemon=True).start()


def heartbeats_until_stopped(worker: Worker, presence: Presence, every_seconds: float = HEARTBEAT_SECONDS) -> None:
    """Retries while the broker is away."""
    with redis_at(worker.settings.broker_url, TIMEOUT_SECONDS) as broker:
        while True:
            try:
                send_heartbeat(broker, presence)
            except RedisError as error:
                log.warning("the heartbeat of this worker was not sent: %s", error)
            if worker.stopping.wait(every_seconds):
                break
        with suppress(RedisError):
            remove_heartbeat(broker, presence.name)
