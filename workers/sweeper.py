"""``python -m workers.sweeper``: requeues expired trials, wakes workers, counts outcomes, cleans up, sends webhooks.

Everything here is decided from rows and may run in any number of processes at once. Webhooks have a thread of their
own, because a slow receiver must not delay the rest.
"""

import logging
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from kombu.exceptions import OperationalError as BrokerUnreachable
from pydantic import ValidationError
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError as DatabaseUnreachable
from sqlalchemy.orm import Session

from models_store import broker, logs, runs
from models_store.monitoring import counting
from models_store.retention import deleted, pruning
from models_store.runs import UNFINISHED
from models_store.settings import Settings
from models_store.tables import Experiment, Trial
from workers import webhooks
from workers.worker import cleaning, work
from workers.worker.context import Worker, create_worker

log = logging.getLogger(__name__)
MOST_WAKE_UPS_A_SWEEP = 100
MOST_EXPERIMENTS_A_SWEEP = 500
PRUNE_SECONDS = 600.0


class Sweeper:
    """Sweeps for one worker's collaborators, each experiment and model in a transaction of its own.

    Raises nothing: a database or broker that is away ends one sweep, and what cannot be swept is left aside, logged and
    counted, so that no row keeps the others waiting.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._database_answers_since: float | None = None
        self._prunes_at = 0.0

    def sweep(self) -> None:
        try:
            self._apply_deadlines()
            self._each(ready_to_advance, self._advance)
            wake_for_what_waits(self._worker)
            self._each(counting.models_to_count, self._count, "model")
            self._each(deleted.with_files, self._remove_files)
            self._prune()
        except DatabaseUnreachable as error:
            self._database_answers_since = None
            log.warning("this sweep was cut short, the database did not answer: %s", error)
        except (BrokerUnreachable, RedisError) as error:
            log.warning("this sweep was cut short, the broker did not answer: %s", error)
        except Exception:
            log.exception("this sweep was cut short")

    def _apply_deadlines(self) -> None:
        if self._is_fair():
            self._each(runs.with_expired_leases, self._reclaim)
        self._each(runs.with_time_limit, self._in_transaction(runs.stop_overdue))
        self._each(runs.cancelling, self._in_transaction(runs.end_if_cancelled))

    def _each(
        self, find: Callable[[Session], list[str]], step: Callable[[str], object], kind: str = "experiment"
    ) -> None:
        with self._worker.database.read() as session:
            found = find(session)
        for each in found:
            with self._left_aside_on_failure(f"{kind} {each}"):
                step(each)

    def _in_transaction(self, step: Callable[[Session, str], object]) -> Callable[[str], None]:
        def in_transaction(experiment_id: str) -> None:
            with self._worker.database.write() as session:
                step(session, experiment_id)

        return in_transaction

    @contextmanager
    def _left_aside_on_failure(self, name: str) -> Iterator[None]:
        try:
            yield
        except (DatabaseUnreachable, BrokerUnreachable, RedisError):
            raise
        except Exception:
            log.exception("%s was left aside by this sweep", name)
            with broker.redis_at(self._worker.settings.broker_url, 5) as messages, suppress(RedisError):
                broker.count_sweep_failure(messages)

    def _reclaim(self, experiment_id: str) -> None:
        with self._worker.database.write() as session:
            reclaimed = runs.reclaim_expired(session, experiment_id, self._worker.settings.max_attempts)
            ended = [trial_id for trial_id in reclaimed if session.get_one(Trial, trial_id).status not in UNFINISHED]
        if reclaimed:
            log.warning("requeued %d trials of %s, whose lease had expired", len(reclaimed), experiment_id)
        for trial_id in ended:
            cleaning.remove_stored(self._worker, trial_id)

    def _advance(self, experiment_id: str) -> None:
        """Fails an experiment whose stored spec no version of the contract accepts any more: nothing could end it."""
        try:
            work.advance(self._worker, experiment_id)
        except ValidationError as invalid:
            error = {"kind": "SpecInvalid", "message": f"its stored spec cannot be read, submit it again: {invalid}"}
            with self._worker.database.write() as session:
                runs.fail_experiment(session, experiment_id, error)
            raise

    def _count(self, version: str) -> None:
        with self._worker.database.write() as session:
            alert = counting.count(session, version)
        if alert is not None:
            log.error("model %s: %s", version, " ".join(alert.figures["sentences"]))

    def _remove_files(self, experiment_id: str) -> None:
        deleted.remove_files(self._worker.database, self._worker.storage, experiment_id)

    def _prune(self) -> None:
        moment = time.monotonic()
        if moment >= self._prunes_at:
            self._prunes_at = moment + PRUNE_SECONDS
            with self._left_aside_on_failure("what is no longer kept"):
                pruned = pruning.prune(self._worker.database, self._worker.storage, self._worker.settings)
                log.info("removed what is no longer kept: %s", pruned)

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
    return list(session.scalars(ready.order_by(Experiment.created_at).limit(MOST_EXPERIMENTS_A_SWEEP)))


def wake_for_what_waits(worker: Worker) -> None:
    """Sends the wake-up calls that are missing: one for each queued trial should be on its way."""
    with worker.database.read() as session:
        waiting = queued_trials(session)
    with broker.redis_at(worker.settings.broker_url, 5) as messages:
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
    webhooks.send_in_background(worker)
    sweeper = Sweeper(worker)
    log.info("sweeps every %g s", settings.sweep_seconds)
    while not worker.stopping.wait(settings.sweep_seconds):
        sweeper.sweep()


if __name__ == "__main__":
    main()
