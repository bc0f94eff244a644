"""The message broker: one Celery configuration, wake-up messages, and the count of failed sweeps."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from celery import Celery
from redis import Redis

from models_store.settings import Settings

log = logging.getLogger(__name__)
WORK = "dermatriage.work"
SWEEP_FAILURES = "dermatriage.sweep.failures"

# A message is a wake-up: a lost or repeated one does no harm, because the row is the truth. It is acknowledged late so
# that a busy worker reserves no message that an idle one could process.
VISIBILITY_TIMEOUT_SECONDS = 24 * 3600


def broker(settings: Settings) -> Celery:
    """A Celery application without tasks, which sends tasks by name."""
    celery = Celery("dermatriage", broker=settings.broker_url)
    transport = {
        "visibility_timeout": VISIBILITY_TIMEOUT_SECONDS,
        "socket_connect_timeout": 5,
        "socket_timeout": 30,
        "retry_on_timeout": True,
        "health_check_interval": 25,
    }
    celery.conf.update(
        broker_transport_options=transport,
        result_backend_transport_options=transport,
        visibility_timeout=VISIBILITY_TIMEOUT_SECONDS,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_default_queue="cpu",
        task_create_missing_queues=True,
        # A worker with every slot taken fetches nothing. A limit on unacknowledged messages instead would stop it for
        # good once an acknowledgement fails because the broker died.
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=0,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.2},
    )
    return celery


def wake(celery: Celery, queue: str, times: int = 1) -> None:
    """Wakes workers of `queue` to claim a queued trial. Raises `kombu.exceptions.OperationalError` without a broker."""
    for _ in range(times):
        celery.send_task(WORK, args=[queue], queue=queue)


class Publisher:
    """Publishes the wake-ups of a `Database` after its commits, in another thread: no request waits for the broker.

    An unreachable broker costs only time, because the sweeper sends missing wake-ups.
    """

    def __init__(self, celery: Celery) -> None:
        self._celery = celery
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publish")

    def __call__(self, wake_ups: Mapping[str, int]) -> None:
        self._thread.submit(self._publish, dict(wake_ups))

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)
        self._celery.close()

    def _publish(self, wake_ups: Mapping[str, int]) -> None:
        for queue, trials in wake_ups.items():
            try:
                wake(self._celery, queue, trials)
            except Exception as error:  # the broker's driver raises many kinds; the trials are safe in their rows
                log.warning("no worker was woken for %d trials on %s, the sweeper will: %s", trials, queue, error)


def redis_at(url: str, timeout_seconds: float = 2.0) -> Redis:
    """A connection to the broker without Celery. Its commands raise `redis.RedisError` if the broker is unreachable."""
    return Redis.from_url(url, socket_connect_timeout=timeout_seconds, socket_timeout=timeout_seconds)


def count_sweep_failure(broker: Redis) -> None:
    broker.incr(SWEEP_FAILURES)


def sweep_failures(broker: Redis) -> int:
    return int(broker.get(SWEEP_FAILURES) or 0)
