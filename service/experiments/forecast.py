"""When experiments that wait start and end, if workers claim trials in their order and nothing fails."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

Phase = Sequence[float]


@dataclass(frozen=True)
class Work:
    """What an experiment still has to do: seconds left of its running trials, then the seconds of each phase's trials.

    The first of `phases` is the one whose trials run. `inf` stands for a duration that nobody knows.
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
        """Goes on to the next phase that has trials, unless trials still wait."""
        while not self.waiting and self.phase < len(self.work.phases):
            self.waiting = list(reversed(self.work.phases[self.phase]))
            self.phase += 1


def forecast(works: Sequence[Work], slots: int) -> list[tuple[float, float]]:
    """Seconds until the first trial of each starts, and until its last one ends; `works` are in the order of claims.

    `inf` where that depends on a duration that nobody knows, or where there are no slots.
    """
    progress = [_Progress(work, starts=0.0 if work.running else inf) for work in works]
    running = [(seconds, place) for place, work in enumerate(works) for seconds in work.running]
    heapq.heapify(running)
    ready: list[int] = []
    for place, each in enumerate(progress):
        each.busy = len(each.work.running)
        each.open_next()
        if each.waiting:
            heapq.heappush(ready, place)
    moment, idle = 0.0, slots - len(running)
    while True:
        while idle > 0 and ready:
            _start(progress, ready, running, moment)
            idle -= 1
        if not running:
            return [(each.starts, each.ends) for each in progress]
        moment, place = heapq.heappop(running)
        idle += 1
        _end(progress[place], place, ready, moment)


def _start(progress: list[_Progress], ready: list[int], running: list[tuple[float, int]], moment: float) -> None:
    place = ready[0]
    first = progress[place]
    first.starts = min(first.starts, moment)
    first.busy += 1
    heapq.heappush(running, (moment + first.waiting.pop(), place))
    if not first.waiting:
        heapq.heappop(ready)


def _end(ended: _Progress, place: int, ready: list[int], moment: float) -> None:
    ended.busy -= 1
    if ended.busy or ended.waiting:
        return
    ended.open_next()
    if ended.waiting:
        heapq.heappush(ready, place)
    else:
        ended.ends = moment
