"""Work that has to wait: for a thread, for memory, for as long as its client is there."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from typing import ParamSpec, TypeVar

from fastapi import Request

from service.errors import Problem

Given = ParamSpec("Given")
Result = TypeVar("Result")
# Most answers take less; a client that goes is looked for only behind those that do not.
UNWATCHED_SECONDS = 0.05


class Threads:
    """A few threads for blocking work; what finds none free waits in order. Used from one event loop.

    A caller that is cancelled leaves the queue at once. Work that has begun keeps its thread until it ends.
    """

    def __init__(self, number: int, name: str) -> None:
        self._free = asyncio.Semaphore(number)
        self._threads = ThreadPoolExecutor(number, thread_name_prefix=name)

    async def run(self, work: Callable[Given, Result], *given: Given.args, **named: Given.kwargs) -> Result:
        await self._free.acquire()
        running = asyncio.get_running_loop().run_in_executor(self._threads, lambda: work(*given, **named))
        running.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(running)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)


class Memory:
    """Bytes that several threads share; who finds too few waits in order."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._freed = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """`amount` may not be above the whole."""
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._freed:
                self._left += amount
                self._freed.notify()


class Room:
    """Bytes that several tasks of one event loop share; who finds too few waits in order."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    async def take(self, amount: int) -> None:
        """`amount` may not be above the whole."""
        async with self._turn:
            while self._left < amount:
                self._freed.clear()
                await self._freed.wait()
            self._left -= amount

    def give(self, amount: int) -> None:
        self._left += amount
        self._freed.set()


@asynccontextmanager
async def while_connected(request: Request) -> AsyncIterator[None]:
    """Cancels what is done inside once the client has gone. The body of `request` must have been read.

    Raises `Problem` then, so that the log tells 499; nobody reads it.
    """
    loop = asyncio.get_running_loop()
    watching: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(None) as ending:
            timer = loop.call_later(
                UNWATCHED_SECONDS, lambda: watching.append(loop.create_task(_end_with_client(request, ending)))
            )
            try:
                yield
            finally:
                timer.cancel()
                for task in watching:
                    task.cancel()
    except TimeoutError:
        if not ending.expired():
            raise
        detail = "the client closed the connection before the answer was there"
        raise Problem(499, "client-gone", "The client has gone", detail, "Wait for the answer.") from None


async def _end_with_client(request: Request, ending: asyncio.Timeout) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    ending.reschedule(asyncio.get_running_loop().time())
