"""``python -m workers``: one Celery worker, its settings from the environment."""

import logging

from celery.signals import worker_shutting_down

from models_store.broker import CONTROL_QUEUE
from models_store.settings import Settings
from workers.app import create_worker
from workers.tasks import register_tasks


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings()
    worker = create_worker(settings)
    register_tasks(worker.celery, worker)

    def hand_back(**_signal: object) -> None:
        worker.stopping.set()

    # Threads, because each only watches a subprocess; the warm shutdown then waits until every trial is handed back.
    worker_shutting_down.connect(hand_back, weak=False)
    queues = ",".join((*settings.worker_queues.split(","), CONTROL_QUEUE))
    worker.celery.worker_main(
        [
            *("worker", "--pool=threads", f"--concurrency={settings.worker_slots + 1}", f"--queues={queues}"),
            *("--without-gossip", "--without-mingle", "--loglevel=INFO", f"--hostname={worker.name}"),
        ]
    )


main()
