"""Queues: jobs that share one run of the network, and threads and memory that many jobs share."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, ParamSpec, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
Given = ParamSpec("Given")


class QueueFull(RuntimeError):
    """The queue holds as many jobs as it may; the caller should try again later."""


class Batcher(Generic[Job, Result]):
    """Runs `work` on lists of jobs, one list at a time. Used from one event loop.

    Jobs that come in one iteration of the loop, or during a run, share the next run. A run that `is_short` stays on
    the event loop, which costs less than handing it to another thread; the others share one thread.
    """

    def __init__(
        self,
        work: Callable[[Sequence[Job]], Sequence[Result]],
        *,
        most_together: int,
        most_waiting: int,
        is_short: Callable[[Sequence[Job]], bool] = lambda _jobs: False,
        on_run: Callable[[int], None] = lambda _size: None,
    ) -> None:
        self._work, self._most_together, self._most_waiting = work, most_together, most_waiting
        self._is_short, self._on_run = is_short, on_run
        self._waiting: deque[tuple[Job, asyncio.Future[Result]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="predict")
        self._running = False

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def submit(self, job: Job) -> Result:
        """The result of `job`. Raises `QueueFull`, or what `work` raised."""
        room = self._most_waiting if self._running else self._most_waiting + self._most_together
        if len(self._waiting) >= room:
            raise QueueFull(f"{len(self._waiting)} images wait already")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((job, answer))
        if not self._running and len(self._waiting) == 1:
            loop.call_soon(self._run_next)
        try:
            return await answer
        except asyncio.CancelledError:  # the caller has gone, so its place is free
            self._waiting = deque(waiting for waiting in self._waiting if waiting[1] is not answer)
            raise

    def close(self) -> None:
        """Ends the thread after the current run."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _run_next(self) -> None:
        if self._running:
            return
        taken: list[tuple[Job, asyncio.Future[Result]]] = []
        while self._waiting and len(taken) < self._most_together:
            job, answer = self._waiting.popleft()
            if not answer.done():  # its caller has gone
                taken.append((job, answer))
        if not taken:
            return
        jobs = [job for job, _ in taken]
        self._on_run(len(jobs))
        loop = asyncio.get_running_loop()
        if not self._is_short(jobs):
            self._running = True
            run = loop.run_in_executor(self._thread, self._work, jobs)
            run.add_done_callback(lambda done: self._finish(done, taken))
            return
        if self._waiting:
            loop.call_soon(self._run_next)
        try:
            _answer(taken, self._work(jobs))
        except Exception as failure:
            _fail(taken, failure)

    def _finish(
        self, done: "asyncio.Future[Sequence[Result]]", taken: list[tuple[Job, "asyncio.Future[Result]"]]
    ) -> None:
        self._running = False
        self._run_next()  # the next run starts while the answers of this one are written
        if done.cancelled():
            for _, answer in taken:
                answer.cancel()
        elif (failure := done.exception()) is not None:
            _fail(taken, failure)
        else:
            _answer(taken, done.result())


def _answer(taken: Sequence[tuple[Job, "asyncio.Future[Result]"]], results: Sequence[Result]) -> None:
    for (_, answer), result in zip(taken, results, strict=True):
        if not answer.done():
            answer.set_result(result)


def _fail(taken: Sequence[tuple[Job, "asyncio.Future[Result]"]], failure: BaseException) -> None:
    for _, answer in taken:
        if not answer.done():
            answer.set_exception(failure)


class Threads:
    """A few threads for blocking work; work for which none is free waits in order. Used from one event loop.

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
    """Bytes that several threads share; a thread for which too few are free waits in order."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._freed = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def reserved(self, amount: int) -> Iterator[None]:
        """`amount` may not exceed `most`."""
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._freed:
                self._left += amount
                self._freed.notify()


class AsyncMemory:
    """Bytes that several tasks of one event loop share; a task for which too few are free waits in order."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._turn = asyncio.Lock()
        self._freed = asyncio.Event()

    async def acquire(self, amount: int) -> None:
        """`amount` may not exceed `most`."""
        async with self._turn:
            while self._left < amount:
                self._freed.clear()
                await self._freed.wait()
            self._left -= amount

    def release(self, amount: int) -> None:
        self._left += amount
        self._freed.set()
