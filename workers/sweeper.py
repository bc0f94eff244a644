"""``python -m workers.sweeper``: requeues expired trials, wakes workers, counts outcomes, cleans up, sends webhooks.

It works from rows alone and may run in any number of processes at once. Webhooks have a thread of their
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
MAX_WAKE_UPS_A_SWEEP = 100
MAX_EXPERIMENTS_A_SWEEP = 500
PRUNE_SECONDS = 600.0


class Sweeper:
    """Sweeps with the collaborators of one worker, each experiment and model in a transaction of its own.

    Raises nothing: an unreachable database or broker ends one sweep. An experiment or model that fails is skipped,
    logged and counted, so that it does not delay the others.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._database_answers_since: float | None = None
        self._prunes_at = 0.0

    def sweep(self) -> None:
        try:
            self._apply_deadlines()
            self._each(ready_to_advance, self._advance)
            send_missing_wake_ups(self._worker)
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
        if self._leases_could_be_renewed():
            self._each(runs.with_expired_leases, self._reclaim)
        self._each(runs.with_time_limit, self._in_transaction(runs.stop_overdue))
        self._each(runs.cancelling, self._in_transaction(runs.end_if_cancelled))

    def _each(
        self, find: Callable[[Session], list[str]], step: Callable[[str], object], kind: str = "experiment"
    ) -> None:
        with self._worker.database.read() as session:
            found = find(session)
        for each in found:
            with self._skipped_on_failure(f"{kind} {each}"):
                step(each)

    def _in_transaction(self, step: Callable[[Session, str], object]) -> Callable[[str], None]:
        def in_transaction(experiment_id: str) -> None:
            with self._worker.database.write() as session:
                step(session, experiment_id)

        return in_transaction

    @contextmanager
    def _skipped_on_failure(self, name: str) -> Iterator[None]:
        try:
            yield
        except (DatabaseUnreachable, BrokerUnreachable, RedisError):
            raise
        except Exception:
            log.exception("%s was skipped by this sweep", name)
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
        """Fails an experiment whose stored spec is no longer valid, because it could never end otherwise."""
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
            with self._skipped_on_failure("the removal of old files and rows"):
                pruned = pruning.prune(self._worker.database, self._worker.storage, self._worker.settings)
                log.info("removed what is no longer kept: %s", pruned)

    def _leases_could_be_renewed(self) -> bool:
        """Whether the database has answered for long enough that every worker could renew its leases."""
        moment = time.monotonic()
        if self._database_answers_since is None:
            self._database_answers_since = moment
        return moment - self._database_answers_since >= self._worker.settings.lease_seconds / 2


def ready_to_advance(session: Session) -> list[str]:
    """Unfinished experiments without an unfinished trial, the oldest first."""
    busy = select(Trial.id).where(Trial.experiment_id == Experiment.id, Trial.status.in_(UNFINISHED)).exists()
    ready = select(Experiment.id).where(Experiment.status.in_(("queued", "running")), ~busy)
    return list(session.scalars(ready.order_by(Experiment.created_at).limit(MAX_EXPERIMENTS_A_SWEEP)))


def send_missing_wake_ups(worker: Worker) -> None:
    """Sends wake-ups until there is one message for each queued trial."""
    with worker.database.read() as session:
        waiting = queued_trials(session)
    with broker.redis_at(worker.settings.broker_url, 5) as messages:
        for queue, trials in waiting.items():
            sent = int(messages.llen(queue))
            missing = min(trials - sent, MAX_WAKE_UPS_A_SWEEP)
            if missing > 0:
                broker.wake(worker.celery, queue, missing)


def queued_trials(session: Session) -> dict[str, int]:
    """The number of queued trials by queue."""
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
