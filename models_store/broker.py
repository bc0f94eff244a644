"""The message broker: one Celery configuration, wake-up messages, and the count of failed sweeps."""

from celery import Celery
from redis import Redis

from models_store.settings import Settings

WORK = "dermatriage.work"
ADVANCE = "dermatriage.advance"
CONTROL_QUEUE = "control"

# A message is a wake-up call: losing it, or getting it twice, harms nothing, because the row is the truth. It is
# acknowledged late so that a busy worker reserves no message that an idle one could answer.
VISIBILITY_TIMEOUT_SECONDS = 24 * 3600


def broker(settings: Settings) -> Celery:
    """A Celery application without tasks: enough to send by name."""
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
        task_default_queue=CONTROL_QUEUE,
        task_create_missing_queues=True,
        # A worker with every slot taken fetches nothing. Bounding it by unacknowledged messages instead would leave it
        # deaf for good once an acknowledgement fails because the broker died.
        worker_disable_prefetch=True,
        worker_prefetch_multiplier=0,
        worker_hijack_root_logger=False,
        worker_enable_remote_control=False,
        worker_send_task_events=False,
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0, "interval_step": 0.2},
    )
    return celery


def wake(celery: Celery, queue: str, times: int = 1) -> None:
    """Asks workers of `queue` to look for a queued trial. Raises `kombu.exceptions.OperationalError` without broker."""
    for _ in range(times):
        celery.send_task(WORK, args=[queue], queue=queue)


def advance(celery: Celery, experiment_id: str) -> None:
    """Asks any worker to see what an experiment needs next."""
    celery.send_task(ADVANCE, args=[experiment_id], queue=CONTROL_QUEUE)


KEY = "dermatriage.sweep.failures"


def count_failure(broker: Redis) -> None:
    """Raises `redis.RedisError` while the broker is away."""
    broker.incr(KEY)


def failures(broker: Redis) -> int:
    return int(broker.get(KEY) or 0)
