"""When waiting experiments start and end, if workers claim trials in order and nothing fails."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

Phase = Sequence[float]


@dataclass(frozen=True)
class Work:
    """What an experiment still has to do: seconds left of its running trials, then the seconds of each phase's trials.

    The first of `phases` is the one whose trials run. `inf` stands for an unknown duration.
    """

    running: Sequence[float]
    phases: Sequence[Phase]


@dataclass
class _Progress:
    work: Work
    starts: float = inf
    ends: float = inf
    busy: int = 0
    phase: int = 0
    waiting: list[float] = field(default_factory=list)

    def open_next(self) -> None:
        """Opens the next phase that has trials, unless trials are still waiting."""
        while not self.waiting and self.phase < len(self.work.phases):
            self.waiting = list(reversed(self.work.phases[self.phase]))
            self.phase += 1


def forecast(works: Sequence[Work], slots: int) -> list[tuple[float, float]]:
    """Seconds until the first trial of each starts, and until its last one ends; `works` are in the order of claims.

    `inf` where that depends on an unknown duration, or where there are no slots.
    """
    progress = [_Progress(work, starts=0.0 if work.running else inf) for work in works]
    running = [(seconds, index) for index, work in enumerate(works) for seconds in work.running]
    heapq.heapify(running)
    ready: list[int] = []
    for index, each in enumerate(progress):
        each.busy = len(each.work.running)
        each.open_next()
        if each.waiting:
            heapq.heappush(ready, index)
    moment, idle = 0.0, slots - len(running)
    while True:
        while idle > 0 and ready:
            _start(progress, ready, running, moment)
            idle -= 1
        if not running:
            return [(each.starts, each.ends) for each in progress]
        moment, index = heapq.heappop(running)
        idle += 1
        _end(progress[index], index, ready, moment)


def _start(progress: list[_Progress], ready: list[int], running: list[tuple[float, int]], moment: float) -> None:
    index = ready[0]
    first = progress[index]
    first.starts = min(first.starts, moment)
    first.busy += 1
    heapq.heappush(running, (moment + first.waiting.pop(), index))
    if not first.waiting:
        heapq.heappop(ready)


def _end(ended: _Progress, index: int, ready: list[int], moment: float) -> None:
    ended.busy -= 1
    if ended.busy or ended.waiting:
        return
    ended.open_next()
    if ended.waiting:
        heapq.heappush(ready, index)
    else:
        ended.ends = moment
