"""The Celery tasks: thin, and harmless when they come twice or for nothing."""

from celery import Celery

from models_store.broker import ADVANCE, WORK
from workers import work
from workers.app import Worker


def register_tasks(celery: Celery, worker: Worker) -> None:
    """Binds the two tasks to one worker's collaborators."""

    @celery.task(name=WORK)  # type: ignore[untyped-decorator]
    def run_next_trial(queue: str) -> None:
        if not worker.stopping.is_set():
            work.run_next_trial(worker, queue)

    @celery.task(name=ADVANCE)  # type: ignore[untyped-decorator]
    def advance(experiment_id: str) -> None:
        work.advance(worker, experiment_id)
