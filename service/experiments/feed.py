"""Tells every listener of one web process that an experiment has news, with one small query for all of them."""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from models_store.database import Database
from models_store.tables import Experiment

log = logging.getLogger(__name__)
POLL_SECONDS = 0.5


class Feed:
    """Wakes listeners when the number of their experiment's events has changed. `closing` ends every stream."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._counts: dict[str, int] = {}
        self.closing = asyncio.Event()

    @contextmanager
    def listen(self, experiment_id: str) -> Iterator[asyncio.Event]:
        """Gives the event that is set when there may be news, and once the server stops."""
        news = asyncio.Event()
        self._listeners[experiment_id].add(news)
        try:
            yield news
        finally:
            self._listeners[experiment_id].discard(news)
            if not self._listeners[experiment_id]:
                del self._listeners[experiment_id]
                self._counts.pop(experiment_id, None)

    async def poll(self) -> None:
        """Looks for news until it is cancelled; a database that is away only delays them."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not self._listeners:
                continue
            try:
                self._announce(await to_thread.run_sync(self._count, list(self._listeners)))
            except SQLAlchemyError as error:
                log.warning("the database did not tell of new events, asking again: %s", error)

    def close(self) -> None:
        self.closing.set()
        for listeners in self._listeners.values():
            for news in listeners:
                news.set()

    def _announce(self, counts: Mapping[str, int]) -> None:
        changed = [experiment_id for experiment_id, count in counts.items() if count != self._counts.get(experiment_id)]
        for experiment_id in changed:
            if experiment_id in self._listeners:
                self._counts[experiment_id] = counts[experiment_id]
                for news in self._listeners[experiment_id]:
                    news.set()

    def _count(self, experiment_ids: Sequence[str]) -> dict[str, int]:
        with self._database.read() as session:
            chosen = select(Experiment.id, Experiment.events).where(Experiment.id.in_(experiment_ids))
            return {experiment_id: count for experiment_id, count in session.execute(chosen)}
