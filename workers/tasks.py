"""The Celery task: thin, and harmless when its message comes twice or for nothing."""

from celery import Celery

from models_store.broker import WORK
from workers import work
from workers.app import Worker


def register_tasks(celery: Celery, worker: Worker) -> None:
    """Binds the task to one worker's collaborators. Control messages are answered by `control`."""

    @celery.task(name=WORK)  # type: ignore[untyped-decorator]
    def run_next_trial(queue: str) -> None:
        if not worker.stopping.is_set():
            work.run_next_trial(worker, queue)
