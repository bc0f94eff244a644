"""One interface to both clients, so that every test covers both."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from dermatriage_client import AsyncClient, Client, Retries
from tests.service.conftest import app, make_model, settings, storage

__all__ = ["app", "make_model", "settings", "storage"]

Connect = Callable[..., Any]
# As many attempts as a program makes, in milliseconds.
QUICK = Retries(first_seconds=0.01)


class Awaited:
    """An `AsyncClient` in an event loop of its own, called as if it were a `Client`."""

    def __init__(self, client: AsyncClient, portal: BlockingPortal) -> None:
        self._client = client
        self._portal = portal

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def call(*args: Any, **named: Any) -> Any:
            answer = method(*args, **named)
            return self._portal.call(_awaited, answer) if inspect.isawaitable(answer) else self._iterated(answer)

        return call

    def _iterated(self, items: Any) -> Iterator[Any]:
        end = object()
        while (item := self._portal.call(anext, items, end)) is not end:
            yield item


@pytest.fixture(params=["Client", "AsyncClient"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes a client of either kind; it is closed after the test."""
    with ExitStack() as stack:

        def make(url: str, **options: Any) -> Any:
            options = {"retries": QUICK, **options}
            if request.param == "Client":
                return stack.enter_context(Client(url, **options))
            portal = stack.enter_context(start_blocking_portal())
            client = stack.enter_context(portal.wrap_async_context_manager(AsyncClient(url, **options)))
            return Awaited(client, portal)

        yield make


@pytest.fixture
def database_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """One database is enough here: the client talks HTTP."""
    copy = tmp_path / "test.db"
    copy.write_bytes(migrated_sqlite.read_bytes())
    return f"sqlite:///{copy}"


async def _awaited(answer: Any) -> Any:
    return await answer
