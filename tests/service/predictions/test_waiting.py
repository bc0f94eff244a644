"""Work whose client has gone leaves every queue; work that has begun keeps its thread."""

import asyncio
import io
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.types import Message

from dermatriage_client.schemas import Explanation
from models_store.scoring.scorer import Scorer
from service.errors import Problem
from service.predictions import answering
from service.predictions.answering import while_connected
from service.predictions.engine import heatmap
from service.predictions.engine.queues import AsyncMemory, Batcher, Memory, Threads
from tests.service.served import served

MakeModel = Callable[..., str]


class Caller:
    """A request whose body was read, and whose client disconnects when `goes` is set."""

    def __init__(self) -> None:
        self.goes = asyncio.Event()

    async def receive(self) -> Message:
        await self.goes.wait()
        return {"type": "http.disconnect"}

    async def waits_for(self, work: Any) -> Any:
        async with while_connected(self.receive):
            return await work


class Recorded:
    """Work that records its arguments, and ends when `go` is set."""

    def __init__(self) -> None:
        self.given: list[int] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self, number: int) -> int:
        self.given.append(number)
        self.begun.set()
        self.go.wait(10)
        return number

    def each(self, numbers: Any) -> list[int]:
        return [self(number) for number in numbers]


async def gone(callers: list[Caller], tasks: list["asyncio.Task[int]"]) -> None:
    for caller in callers:
        caller.goes.set()
    for problem in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(problem, Problem)
        assert (problem.status, problem.kind) == (499, "client-gone")


@pytest.fixture(autouse=True)
def _check_disconnects_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "DISCONNECT_CHECK_SECONDS", 0)


def test_callers_that_have_gone_leave_the_queue_for_a_thread_and_no_thread_is_lost() -> None:
    work = Recorded()

    async def run() -> list[int]:
        threads, callers = Threads(1, "test"), [Caller() for _ in range(5)]
        tasks = [
            asyncio.create_task(caller.waits_for(threads.run(work, number))) for number, caller in enumerate(callers)
        ]
        await asyncio.to_thread(work.begun.wait)
        await gone(callers, tasks)
        work.go.set()
        return [await threads.run(work, number) for number in (5, 6)]

    assert asyncio.run(run()) == [5, 6]
    assert work.given == [0, 5, 6]


def test_work_that_has_begun_keeps_its_thread_though_its_caller_has_gone() -> None:
    work = Recorded()

    async def run() -> None:
        threads, caller = Threads(1, "test"), Caller()
        task = asyncio.create_task(caller.waits_for(threads.run(work, 0)))
        await asyncio.to_thread(work.begun.wait)
        await gone([caller], [task])
        second = asyncio.create_task(threads.run(work, 1))
        await asyncio.sleep(0)
        assert work.given == [0]
        work.go.set()
        assert await second == 1

    asyncio.run(run())


def test_callers_that_have_gone_leave_the_queue_of_the_network_at_once() -> None:
    work = Recorded()

    async def run() -> int:
        batcher: Batcher[int, int] = Batcher(work.each, most_together=8, most_waiting=4)
        callers = [Caller() for _ in range(5)]
        tasks = [asyncio.create_task(callers[0].waits_for(batcher.submit(0)))]
        await asyncio.to_thread(work.begun.wait)
        tasks += [asyncio.create_task(callers[number].waits_for(batcher.submit(number))) for number in range(1, 5)]
        await asyncio.sleep(0)
        assert batcher.waiting == 4
        await gone(callers, tasks)
        assert batcher.waiting == 0
        late = asyncio.create_task(batcher.submit(5))
        await asyncio.sleep(0)
        work.go.set()
        return await late

    assert asyncio.run(run()) == 5
    assert work.given == [0, 5]


def test_answer_in_time_is_returned_and_the_check_for_a_disconnect_ends() -> None:
    async def run() -> None:
        caller = Caller()
        assert await caller.waits_for(asyncio.sleep(0.01, "answer")) == "answer"
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(run())


def test_error_of_the_work_is_raised_unchanged() -> None:
    async def late() -> None:
        raise TimeoutError("the database")

    with pytest.raises(TimeoutError, match="the database"):
        asyncio.run(Caller().waits_for(late()))


def test_memory_is_reserved_in_the_order_of_the_requests() -> None:
    memory, order, first = Memory(10), [], threading.Event()

    def take(name: str, amount: int) -> None:
        with memory.reserved(amount):
            order.append(name)

    with memory.reserved(6):
        large = threading.Thread(target=take, args=("large", 10))
        large.start()
        while not memory._turn.locked():
            first.wait(0.001)
        small = threading.Thread(target=take, args=("small", 1))
        small.start()
    large.join(5)
    small.join(5)
    assert order == ["large", "small"]
    assert memory._left == 10


def test_memory_of_a_batch_is_acquired_in_order_and_a_cancelled_task_takes_none() -> None:
    async def run() -> None:
        memory = AsyncMemory(10)
        await memory.acquire(8)
        large, small = asyncio.create_task(memory.acquire(10)), asyncio.create_task(memory.acquire(2))
        await asyncio.sleep(0)
        assert not small.done()
        large.cancel()
        await small
        memory.release(8)
        memory.release(2)
        await memory.acquire(10)

    asyncio.run(run())


def image() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((28, 28, 3), (150, 90, 80), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def request() -> bytes:
    body = b'--xYz\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + image() + b"\r\n--xYz--"
    head = (
        f"POST /predict?explain=true HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: multipart/form-data; boundary=xYz\r\n\r\n"
    )
    return head.encode() + body


def test_abandoned_heatmaps_delay_nobody(app: FastAPI, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    make_model(promote=True)
    begun, go, made = threading.Semaphore(0), threading.Event(), []

    def explain(_scorer: Scorer, pixels: Any) -> Explanation:
        made.append(pixels.shape)
        begun.release()
        go.wait(10)
        return Explanation(method="occlusion", png_base64="", strongest_change=0, milliseconds=0)

    monkeypatch.setattr(heatmap, "explain", explain)
    queue = app.state.service.judge._explainers._free
    with served(app) as address:
        port = int(address.rpartition(":")[2])
        abandoned = [socket.create_connection(("127.0.0.1", port)) for _ in range(6)]
        for connection in abandoned:
            connection.sendall(request())
        assert begun.acquire(timeout=10)
        _wait_until(lambda: len(queue._waiters or ()) == 5)
        for connection in abandoned:
            connection.close()
        _wait_until(lambda: not queue._waiters)
        with socket.create_connection(("127.0.0.1", port)) as staying:
            staying.sendall(request())
            go.set()
            assert staying.recv(4096).startswith(b"HTTP/1.1 200")
    assert len(made) == 2


def _wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.002)
