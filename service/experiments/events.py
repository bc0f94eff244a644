"""``GET /v1/experiments/{id}/events``: what happens to an experiment, as it happens, by Server-Sent Events.

https://html.spec.whatwg.org/multipage/server-sent-events.html. An event's id is its number in the database, so a client
that sends the last id it received continues after it, on any web process.
"""

import asyncio
import json
import logging
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import Annotated, Any, cast

from anyio import to_thread
from fastapi import APIRouter, FastAPI, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, format_sse_event
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from dermatriage_client.schemas import ENDED
from dermatriage_client.streams import ends
from models_store.database import Database
from models_store.runs import find_experiment
from models_store.tables import Event, Experiment
from service.access.gate import still_admitted
from service.dependencies import Identifier, Services
from service.errors import is_outage
from service.web.api_docs import problems

HEARTBEAT_SECONDS = 15.0
RECONNECT_MILLISECONDS = 2000
KEY_CHECK_SECONDS = 1.0  # between two checks that the key of an idle stream is still valid
MAX_EVENTS_PER_QUERY = 500
MEDIA_TYPE = "text/event-stream"
EXAMPLE = 'id: 7\nevent: trial\ndata: {"trial_id": "trl_1", "status": "running", "at": "2026-01-05T09:30:01+00:00"}\n\n'


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
        """Yields an event that is set when there may be new events, and when the server stops."""
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
        """Polls until it is cancelled; an outage of the database only delays new events."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not self._listeners:
                continue
            try:
                self._notify(await to_thread.run_sync(self._count, list(self._listeners)))
            except SQLAlchemyError as error:
                log.warning("new events could not be read from the database, trying again: %s", error)

    def close(self) -> None:
        self.closing.set()
        for listeners in self._listeners.values():
            for news in listeners:
                news.set()

    def _notify(self, counts: Mapping[str, int]) -> None:
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


@asynccontextmanager
async def _feeding(app: FastAPI) -> AsyncIterator[None]:
    feed = app.state.feed = Feed(app.state.service.database)
    polling = asyncio.create_task(feed.poll())
    try:
        with _closed_on_shutdown(feed):
            yield
    finally:
        feed.close()
        polling.cancel()
        with suppress(asyncio.CancelledError):
            await polling


router = APIRouter(tags=["experiments"], lifespan=_feeding)


@router.get(
    "/v1/experiments/{experiment_id}/events",
    response_class=StreamingResponse,
    responses={
        200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": EXAMPLE}}},
        204: {"description": "The experiment has ended and there are no further events."},
        **problems("experiment-not-found", "invalid-request"),
    },
)
async def stream_experiment_events(
    experiment_id: Identifier,
    request: Request,
    services: Services,
    last_event_id: Annotated[
        str | None, Header(pattern=r"^[0-9]{1,18}$", description="The last event seen; the stream starts after it.")
    ] = None,
    after: Annotated[int, Query(ge=0, le=2**53, description="Like `Last-Event-ID`, which takes precedence.")] = 0,
) -> Response:
    """Phases, trials and epochs as they happen. The stream ends when the experiment does; comments keep it open."""
    seen = int(last_event_id) if last_event_id is not None else after
    if await to_thread.run_sync(_is_over, services.database, experiment_id, seen):
        return Response(status_code=204)  # so that a browser's EventSource does not reconnect
    feed = cast(Feed, request.app.state.feed)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    events = _stream(services.database, feed, experiment_id, seen, still_admitted(request))
    return EventSourceResponse(events, 200, headers)


async def _stream(
    database: Database, feed: Feed, experiment_id: str, seen: int, admitted: Callable[[], bool]
) -> AsyncIterator[bytes]:
    yield format_sse_event(retry=RECONNECT_MILLISECONDS)
    with feed.listen(experiment_id) as news:
        while admitted() and not feed.closing.is_set():
            news.clear()
            events = await _events_after(database, experiment_id, seen)
            for event in events:
                yield _encoded(event)
                seen = event.number
            if events and ends(events[-1].kind, events[-1].data):
                return
            if not events and not await _wait_for_news(news, admitted):
                yield format_sse_event(comment="keep-alive")


async def _wait_for_news(news: asyncio.Event, admitted: Callable[[], bool]) -> bool:
    """False if a heartbeat is due; True if there may be new events, or the stream has to end."""
    heartbeat_at = time.monotonic() + HEARTBEAT_SECONDS
    while admitted() and not news.is_set():
        if (left := heartbeat_at - time.monotonic()) <= 0:
            return False
        with suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), min(left, KEY_CHECK_SECONDS))
    return True


async def _events_after(database: Database, experiment_id: str, seen: int) -> Sequence[Event]:
    try:
        return await to_thread.run_sync(_read_events, database, experiment_id, seen)
    except SQLAlchemyError as error:
        if is_outage(error):
            return ()  # a temporary outage of the database ends no stream
        raise


def _read_events(database: Database, experiment_id: str, seen: int) -> Sequence[Event]:
    chosen = select(Event).where(Event.experiment_id == experiment_id, Event.number > seen)
    with database.read() as session:
        return session.scalars(chosen.order_by(Event.number).limit(MAX_EVENTS_PER_QUERY)).all()


def _is_over(database: Database, experiment_id: str, seen: int) -> bool:
    with database.read() as session:
        experiment = find_experiment(session, experiment_id)
        later = select(Event.number).where(Event.experiment_id == experiment_id, Event.number > seen).limit(1)
        return experiment.status in ENDED and session.scalar(later) is None  # old events may be pruned


def _encoded(event: Event) -> bytes:
    data: dict[str, Any] = event.data | {"at": event.created_at.isoformat()}
    return format_sse_event(id=str(event.number), event=event.kind, data_str=json.dumps(data))


@contextmanager
def _closed_on_shutdown(feed: Feed) -> Iterator[None]:
    """Ends the streams on SIGINT and SIGTERM; otherwise the server waits for them, and they wait for events."""
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Any] = {}

    def stop(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(feed.close)
        if callable(handler := before.get(signal.Signals(number))):
            handler(number, frame)

    with suppress(ValueError):  # outside the main thread, as in a test, there are no signals
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


log = logging.getLogger(__name__)
