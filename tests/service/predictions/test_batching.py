"""Jobs that come together share runs; none waits on an idle server, none is lost."""

import asyncio
import threading
from collections.abc import Iterable, Sequence

import pytest

from service.predictions.engine.queues import Batcher, QueueFull


class Recorded:
    """Doubles numbers, records the size and the thread of each run, and can be made to wait."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: list[threading.Thread] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, jobs: Sequence[int]) -> list[int]:
        self.sizes.append(len(jobs))
        self.threads.append(threading.current_thread())
        self.go.wait(10)
        return [2 * job for job in jobs]


def batcher(work: Recorded, most_together: int = 8, most_waiting: int = 100) -> Batcher[int, int]:
    return Batcher(work, most_together=most_together, most_waiting=most_waiting)


async def submitted(shared: Batcher[int, int], numbers: Iterable[int]) -> list["asyncio.Task[int]"]:
    """The first has begun to run when the others come."""
    first, *others = numbers
    tasks = [asyncio.create_task(shared.submit(first))]
    await asyncio.sleep(0.05)
    tasks += [asyncio.create_task(shared.submit(number)) for number in others]
    await asyncio.sleep(0.05)
    return tasks


def test_job_on_an_idle_server_runs_alone_and_at_once() -> None:
    work = Recorded()

    async def run() -> list[int]:
        shared = batcher(work)
        return [await shared.submit(number) for number in range(3)]

    assert asyncio.run(run()) == [0, 2, 4]
    assert work.sizes == [1, 1, 1]


def test_jobs_that_come_during_a_run_share_the_next_up_to_the_limit() -> None:
    work = Recorded()
    work.go.clear()

    async def run() -> list[int]:
        tasks = await submitted(batcher(work), range(12))
        work.go.set()
        return list(await asyncio.gather(*tasks))

    assert asyncio.run(run()) == [2 * number for number in range(12)]
    assert work.sizes == [1, 8, 3]


def test_jobs_that_come_in_one_turn_of_the_loop_share_a_run() -> None:
    work = Recorded()

    async def run() -> list[int]:
        shared = batcher(work)
        return await asyncio.gather(*(shared.submit(number) for number in range(12)))

    assert asyncio.run(run()) == [2 * number for number in range(12)]
    assert work.sizes == [8, 4]


@pytest.mark.parametrize(("number", "stays"), [(3, True), (4, False)])
def test_only_a_short_run_stays_on_the_event_loop(number: int, stays: bool) -> None:
    work = Recorded()

    async def run() -> list[int]:
        shared: Batcher[int, int] = Batcher(work, most_together=8, most_waiting=8, is_short=lambda jobs: len(jobs) < 4)
        return await asyncio.gather(*(shared.submit(number) for number in range(number)))

    assert asyncio.run(run()) == [2 * each for each in range(number)]
    assert [thread is threading.main_thread() for thread in work.threads] == [stays]


def test_full_queue_refuses_at_once_and_takes_jobs_again_later() -> None:
    work = Recorded()
    work.go.clear()

    async def run() -> int:
        shared = batcher(work, most_waiting=2)
        tasks = await submitted(shared, range(3))
        with pytest.raises(QueueFull):
            await shared.submit(9)
        work.go.set()
        await asyncio.gather(*tasks)
        return await shared.submit(9)

    assert asyncio.run(run()) == 18


def test_caller_that_has_gone_takes_no_room_in_a_run() -> None:
    work = Recorded()
    work.go.clear()

    async def run() -> None:
        tasks = await submitted(batcher(work), range(3))
        tasks[1].cancel()
        await asyncio.sleep(0)
        work.go.set()
        assert await tasks[2] == 4

    asyncio.run(run())
    assert work.sizes == [1, 1]


@pytest.mark.parametrize("is_short", [True, False])
def test_run_that_fails_fails_its_jobs_and_not_the_next(is_short: bool) -> None:
    failing = [True]

    def work(jobs: Sequence[int]) -> list[int]:
        if failing.pop() if failing else False:
            raise MemoryError("no room")
        return list(jobs)

    async def run() -> int:
        shared: Batcher[int, int] = Batcher(work, most_together=4, most_waiting=4, is_short=lambda _jobs: is_short)
        with pytest.raises(MemoryError):
            await shared.submit(1)
        return await shared.submit(2)

    assert asyncio.run(run()) == 2
