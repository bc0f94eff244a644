"""``python -m workers``: one Celery worker, its settings from the environment."""

import logging
import sys

from celery import Celery
from celery.apps import worker as celery_worker
from celery.signals import setup_logging, worker_shutting_down

from models_store import logs
from models_store.broker import WORK
from models_store.settings import Settings
from workers.worker import work
from workers.worker.announcing import heartbeats_in_background
from workers.worker.cleaning import clean_in_background
from workers.worker.context import Worker, create_worker, queues, slots

log = logging.getLogger(__name__)


def main() -> None:
    logs.configure()
    settings = Settings()
    if not queues(settings):
        sys.exit(
            f"this worker has no queue to listen to: WORKER_QUEUES is {settings.worker_queues!r} and GPUS is "
            f"{settings.gpus!r}; `gpu` needs GPUs to be named in DERMATRIAGE_GPUS, such as `0`"
        )
    worker = create_worker(settings)
    clean_in_background(worker)

    def release_trials(**_signal: object) -> None:
        worker.stopping.set()

    worker_shutting_down.connect(release_trials, weak=False)
    setup_logging.connect(keep_logging, weak=False)
    celery_worker.safe_say = print_nothing
    heartbeats_in_background(worker)
    try:
        _run_trials(worker)
    finally:
        log.info("stopped; running trials were released")


def print_nothing(*_message: object) -> None:
    """Celery would print plain text among the JSON when it stops."""


def keep_logging(**_signal: object) -> None:
    """Celery configures logging, and redirects standard output, unless a receiver is connected to this signal."""


def _run_trials(worker: Worker) -> None:
    """Takes at most one message for each slot, so that idle workers get the others.

    A slot is a thread, because it only watches a subprocess; the warm shutdown waits until every trial is released.
    """
    register_tasks(worker.celery, worker)
    worker.celery.worker_main(
        [
            "--quiet",  # no banner among the lines of JSON
            *("worker", "--pool=threads", f"--concurrency={len(slots(worker.settings))}"),
            f"--queues={','.join(queues(worker.settings))}",
            *("--without-gossip", "--without-mingle", "--loglevel=INFO", f"--hostname={worker.name}"),
        ]
    )


def register_tasks(celery: Celery, worker: Worker) -> None:
    """Binds the task to one worker's collaborators."""

    @celery.task(name=WORK)  # type: ignore[untyped-decorator]
    def run_next_trial(queue: str) -> None:
        if not worker.stopping.is_set():
            work.run_next_trial(worker, queue)


main()
