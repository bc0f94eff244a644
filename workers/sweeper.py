"""``python -m workers.sweeper``: puts back what lost its worker, wakes workers for what waits, sends webhooks.

Everything here is decided from rows and may run in any number of processes at once.
"""

import logging
import signal
import time
from contextlib import closing

from kombu.exceptions import OperationalError as BrokerUnreachable
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError as DatabaseUnreachable
from sqlalchemy.orm import Session

from models_store import broker, logs, runs
from models_store.runs import UNFINISHED
from models_store.settings import Settings
from models_store.tables import Experiment, Trial
from workers import webhooks, work
from workers.app import Worker, create_worker

log = logging.getLogger(__name__)
MOST_WAKE_UPS_A_SWEEP = 100
MOST_ADVANCES_A_SWEEP = 500


class Sweeper:
    """Sweeps for one worker's collaborators. Raises nothing for a database or broker that is away."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._database_answers_since: float | None = None

    def sweep(self) -> None:
        try:
            self._end_what_time_has_ended()
            with self._worker.database.read() as session:
                ready = ready_to_advance(session)
            for experiment_id in ready:
                work.advance(self._worker, experiment_id)
            wake_for_what_waits(self._worker)
            webhooks.send_due(self._worker)
        except DatabaseUnreachable as error:
            self._database_answers_since = None
            log.warning("this sweep was cut short, the database did not answer: %s", error)
        except (BrokerUnreachable, RedisError) as error:
            log.warning("this sweep was cut short, the broker did not answer: %s", error)

    def _end_what_time_has_ended(self) -> None:
        with self._worker.database.write() as session:
            taken_back = runs.take_back_expired(session, self._worker.settings.max_attempts) if self._is_fair() else 0
            runs.stop_overdue(session)
            runs.end_cancelling(session)
        if taken_back:
            log.warning("took back %d trials whose worker fell silent", taken_back)

    def _is_fair(self) -> bool:
        """Whether workers had the time to renew their leases since the database came back."""
        moment = time.monotonic()
        if self._database_answers_since is None:
            self._database_answers_since = moment
        return moment - self._database_answers_since >= self._worker.settings.lease_seconds / 2


def ready_to_advance(session: Session) -> list[str]:
    """Experiments none of whose trials is under way, the oldest first."""
    busy = select(Trial.id).where(Trial.experiment_id == Experiment.id, Trial.status.in_(UNFINISHED)).exists()
    ready = select(Experiment.id).where(Experiment.status.in_(("queued", "running")), ~busy)
    return list(session.scalars(ready.order_by(Experiment.created_at).limit(MOST_ADVANCES_A_SWEEP)))


def wake_for_what_waits(worker: Worker) -> None:
    """Sends the wake-up calls that are missing: one for each queued trial should be on its way."""
    with worker.database.read() as session:
        waiting = queued_trials(session)
    with closing(Redis.from_url(worker.settings.broker_url, socket_timeout=5)) as messages:
        for queue, trials in waiting.items():
            on_the_way = int(messages.llen(queue))
            missing = min(trials - on_the_way, MOST_WAKE_UPS_A_SWEEP)
            if missing > 0:
                broker.wake(worker.celery, queue, missing)


def queued_trials(session: Session) -> dict[str, int]:
    """How many trials wait, by queue."""
    rows = session.execute(select(Trial.queue, func.count()).where(Trial.status == "queued").group_by(Trial.queue))
    return {queue: trials for queue, trials in rows}


def main() -> None:
    logs.configure()
    settings = Settings()
    webhooks.require_secret(settings)
    worker = create_worker(settings)
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: worker.stopping.set())
    sweeper = Sweeper(worker)
    log.info("looks for lost work every %g s", settings.sweep_seconds)
    while not worker.stopping.wait(settings.sweep_seconds):
        sweeper.sweep()


if __name__ == "__main__":
    main()
