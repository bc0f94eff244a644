"""``python -m workers``: one Celery worker, its settings from the environment."""

import logging
import sys

from celery.signals import worker_shutting_down

from models_store.settings import Settings
from workers.app import Worker, create_worker, queues, slots
from workers.cleaning import remove_abandoned_folders
from workers.control import answer_in_background
from workers.presence import tell_in_background
from workers.tasks import register_tasks


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings()
    if not queues(settings):
        sys.exit(
            f"this worker has no queue to listen to: WORKER_QUEUES is {settings.worker_queues!r} and GPUS is "
            f"{settings.gpus!r}; `gpu` needs GPUs to be named in DERMATRIAGE_GPUS, such as `0`"
        )
    worker = create_worker(settings)
    remove_abandoned_folders(worker)

    def hand_back(**_signal: object) -> None:
        worker.stopping.set()

    worker_shutting_down.connect(hand_back, weak=False)
    answer_in_background(worker)
    tell_in_background(worker)
    _run_trials(worker)


def _run_trials(worker: Worker) -> None:
    """Takes as many messages as there are slots and not one more, so that idle workers get the others.

    Threads, because each only watches a subprocess; the warm shutdown then waits until every trial is handed back.
    """
    register_tasks(worker.celery, worker)
    worker.celery.worker_main(
        [
            *("worker", "--pool=threads", f"--concurrency={len(slots(worker.settings))}"),
            f"--queues={','.join(queues(worker.settings))}",
            *("--without-gossip", "--without-mingle", "--loglevel=INFO", f"--hostname={worker.name}"),
        ]
    )


main()
