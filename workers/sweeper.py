"""``python -m workers.sweeper``: puts back what lost its worker and wakes workers for what waits.

Everything here is decided from rows and may run in any number of processes at once.
"""

import logging
import signal
from threading import Event

from kombu.exceptions import OperationalError as BrokerUnreachable
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError as DatabaseUnreachable
from sqlalchemy.orm import Session

from models_store import broker, runs
from models_store.settings import Settings
from models_store.tables import Experiment, Trial
from workers import work
from workers.app import Worker, create_worker

log = logging.getLogger(__name__)
MOST_WAKE_UPS_A_SWEEP = 100


def sweep(worker: Worker) -> None:
    """One pass. Raises nothing for a database or broker that is away: the next pass makes it good."""
    try:
        with worker.database.write() as session:
            taken_back = runs.take_back_expired(session, worker.settings.max_attempts)
            runs.stop_overdue(session)
            runs.end_cancelling(session)
        if taken_back:
            log.warning("took back %d trials whose worker fell silent", taken_back)
        with worker.database.read() as session:
            idle = session.scalars(select(Experiment.id).where(Experiment.status.in_(("queued", "running")))).all()
        for experiment_id in idle:
            work.advance(worker, experiment_id)
        _wake_for_what_waits(worker)
    except (DatabaseUnreachable, BrokerUnreachable, RedisError) as error:
        log.warning("this sweep was cut short: %s", error)


def _wake_for_what_waits(worker: Worker) -> None:
    with worker.database.read() as session:
        waiting = _queued_trials(session)
    messages = Redis.from_url(worker.settings.broker_url, socket_timeout=5)
    for queue, trials in waiting.items():
        on_the_way = int(messages.llen(queue))
        missing = min(trials - on_the_way, MOST_WAKE_UPS_A_SWEEP)
        if missing > 0:
            broker.wake(worker.celery, queue, missing)


def _queued_trials(session: Session) -> dict[str, int]:
    rows = session.execute(select(Trial.queue, func.count()).where(Trial.status == "queued").group_by(Trial.queue))
    return dict(rows.tuples().all())


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    settings = Settings()
    worker = create_worker(settings)
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: worker.stopping.set())
    _sweep_until(worker, worker.stopping)


def _sweep_until(worker: Worker, stopping: Event) -> None:
    while not stopping.wait(worker.settings.sweep_seconds):
        sweep(worker)


if __name__ == "__main__":
    main()
