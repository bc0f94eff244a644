"""An experiment's trials on many workers, as queues: slots, the database's transactions, the store's bandwidth.

Trials are simulated one by one; what they do while they train (epochs, status checks, resume points) is a constant load
that slows the database and the store down. Validated against real processes by `benchmarks.scheduling`.
"""

import heapq
from collections import deque
from dataclasses import dataclass, replace
from itertools import count


@dataclass(frozen=True)
class Costs:
    """Seconds of one database transaction by one client, and how many the database does at once without slowing."""

    claim: float
    epoch: float
    status_check: float
    record: float
    open: float
    at_once: float


@dataclass(frozen=True)
class Load:
    """The work of the cluster. Bytes are of one checkpoint and of one resume point."""

    experiments: int
    phases: tuple[int, ...]
    workers: int
    startup_seconds: float
    epochs: int
    epoch_seconds: float
    checkpoint_bytes: float = 0.0
    resume_bytes: float = 0.0
    resume_every_seconds: float = 300.0
    status_check_every_seconds: float = 2.0
    store_bytes_a_second: float = 1e9

    @property
    def trials(self) -> int:
        return self.experiments * sum(self.phases)

    @property
    def trial_seconds(self) -> float:
        return self.startup_seconds + self.epochs * self.epoch_seconds


@dataclass(frozen=True)
class Outcome:
    """How long it took, what share of the slots' time was training, and how busy database and store were."""

    seconds: float
    efficiency: float
    database: float
    store: float
    longest_wait: float


class Overloaded(ValueError):
    """The constant load alone exceeds the database or the store."""


class Queue:
    """Servers that take jobs in order of arrival, slowed by a constant load."""

    def __init__(self, servers: int, speed: float) -> None:
        self._free = [0.0] * servers
        self._speed = speed
        self.busy = 0.0

    def serve(self, moment: float, seconds: float) -> float:
        """The time at which a job that arrives at `moment` is done."""
        taken = seconds / self._speed
        ends = max(moment, heapq.heappop(self._free)) + taken
        heapq.heappush(self._free, ends)
        self.busy += taken * self._speed
        return ends


def steady_database(load: Load, costs: Costs) -> float:
    """Share of the database that every slot's epochs and status checks take while all slots train."""
    seconds = costs.epoch / load.epoch_seconds + costs.status_check / load.status_check_every_seconds
    return load.workers * seconds / costs.at_once


def steady_store(load: Load) -> float:
    """Share of the store's bandwidth that resume points take while all slots train."""
    return load.workers * load.resume_bytes / load.resume_every_seconds / load.store_bytes_a_second


def simulate(load: Load, costs: Costs) -> Outcome:
    """Runs every experiment to its end. Raises `Overloaded`."""
    beside = {"database": steady_database(load, costs), "store": steady_store(load)}
    for name, share in beside.items():
        if share >= 1:
            raise Overloaded(f"{load.workers} slots would take {share:.0%} of the {name}")
    servers = max(1, round(costs.at_once))
    database = Queue(servers, (1 - beside["database"]) * costs.at_once / servers)
    store = Queue(1, (1 - beside["store"]) * load.store_bytes_a_second)
    waiting = deque((0.0, experiment) for experiment in range(load.experiments) for _ in range(load.phases[0]))
    phase = [0] * load.experiments
    left = [load.phases[0]] * load.experiments
    order = count()
    free = [(0.0, next(order)) for _ in range(load.workers)]
    heapq.heapify(free)
    ending: list[tuple[float, int, int]] = []
    last = longest = 0.0
    while waiting or ending:
        if waiting and free and (not ending or free[0][0] <= ending[0][0]):
            queued, experiment = waiting.popleft()
            moment = max(queued, heapq.heappop(free)[0])
            claimed = database.serve(moment, costs.claim)
            longest = max(longest, claimed - moment)
            heapq.heappush(ending, (claimed + load.trial_seconds, next(order), experiment))
            continue
        moment, _, experiment = heapq.heappop(ending)
        stored = store.serve(moment, load.checkpoint_bytes) if load.checkpoint_bytes else moment
        last = database.serve(stored, costs.record)
        left[experiment] -= 1
        if left[experiment] == 0 and phase[experiment] + 1 < len(load.phases):
            phase[experiment] += 1
            left[experiment] = load.phases[phase[experiment]]
            last = database.serve(last, costs.open)
            waiting.extend([(last, experiment)] * left[experiment])
        heapq.heappush(free, (last, next(order)))
    trained = load.trials * load.trial_seconds
    shares = {
        "database": beside["database"] + database.busy / last / costs.at_once,
        "store": beside["store"] + store.busy / load.store_bytes_a_second / last,
    }
    return Outcome(last, trained / (last * load.workers), shares["database"], shares["store"], longest)


def most_workers(load: Load, costs: Costs) -> tuple[int, str]:
    """The most slots that database and store can serve, and which of the two is the limit."""
    one = replace(load, workers=1)
    shares = {"database": steady_database(one, costs), "store": steady_store(one)}
    first = max(shares, key=lambda name: shares[name])
    return int(1 / shares[first]), first
