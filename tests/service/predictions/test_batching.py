"""Jobs share runs as they come: none waits on an idle server, none is lost, none sees another's error."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from service.predictions.engine.queues import Batcher, QueueFull


class Recorded:
    """Doubles numbers, remembers the size of each run, and can be made to wait; a negative number is an error."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, jobs: Sequence[int]) -> list[int | Exception]:
        self.sizes.append(len(jobs))
        self.go.wait(10)
        return [ValueError(str(job)) if job < 0 else 2 * job for job in jobs]


def batcher(work: Recorded, most_together: int = 8, most_waiting: int = 100) -> Batcher[int, int]:
    return Batcher(work, most_together=most_together, most_waiting=most_waiting)


def test_job_on_an_idle_server_runs_alone_and_at_once() -> None:
    work = Recorded()

    async def ask() -> list[int]:
        shared = batcher(work)
        return [await shared.submit(number) for number in range(3)]

    assert asyncio.run(ask()) == [0, 2, 4]
    assert work.sizes == [1, 1, 1]


def test_jobs_that_come_during_a_run_share_the_next_up_to_the_limit() -> None:
    work = Recorded()
    work.go.clear()

    async def ask() -> list[int]:
        shared = batcher(work)
        asked = [asyncio.create_task(shared.submit(number)) for number in range(12)]
        await asyncio.sleep(0.05)
        work.go.set()
        return list(await asyncio.gather(*asked))

    assert asyncio.run(ask()) == [2 * number for number in range(12)]
    assert work.sizes == [1, 8, 3]


def test_error_of_one_job_is_its_own() -> None:
    async def ask() -> list[int | BaseException]:
        shared = batcher(Recorded())
        return await asyncio.gather(*(shared.submit(number) for number in (1, -2, 3)), return_exceptions=True)

    first, second, third = asyncio.run(ask())
    assert (first, third) == (2, 6)
    assert isinstance(second, ValueError)


def test_full_queue_refuses_at_once_and_takes_jobs_again_later() -> None:
    work = Recorded()
    work.go.clear()

    async def ask() -> int:
        shared = batcher(work, most_waiting=2)
        asked = [asyncio.create_task(shared.submit(number)) for number in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(QueueFull):
            await shared.submit(9)
        work.go.set()
        await asyncio.gather(*asked)
        return await shared.submit(9)

    assert asyncio.run(ask()) == 18


def test_caller_that_has_gone_takes_no_room_in_a_run() -> None:
    work = Recorded()
    work.go.clear()

    async def ask() -> None:
        shared = batcher(work)
        asked = [asyncio.create_task(shared.submit(number)) for number in range(3)]
        await asyncio.sleep(0.05)
        asked[1].cancel()
        await asyncio.sleep(0)
        work.go.set()
        assert await asked[2] == 4

    asyncio.run(ask())
    assert work.sizes == [1, 1]


def test_run_that_fails_as_a_whole_fails_its_jobs_and_not_the_next() -> None:
    failing = [True]

    def work(jobs: Sequence[int]) -> list[int | Exception]:
        if failing.pop() if failing else False:
            raise MemoryError("no room")
        return list(jobs)

    async def ask() -> int:
        shared: Batcher[int, int] = Batcher(work, most_together=4, most_waiting=4)
        with pytest.raises(MemoryError):
            await shared.submit(1)
        return await shared.submit(2)

    assert asyncio.run(ask()) == 2
