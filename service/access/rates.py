"""How often one caller may ask: a bucket of tokens each, refilled steadily, holding a minute's worth.

Each web process counts by itself, without asking anything, and grants its share of the limit; all of them together
never grant more than the limit.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MOST_CALLERS = 10_000

RawHeader = tuple[bytes, bytes]


@dataclass(frozen=True)
class Taken:
    """Whether a request was granted, how many more are, of how many, and the whole seconds until one more is."""

    granted: bool
    limit: int
    remaining: int
    seconds_to_next: int

    def headers(self) -> list[RawHeader]:
        """As draft-ietf-httpapi-ratelimit-headers names them; they speak of the share of this web process."""
        return [
            (b"ratelimit-policy", b'"requests";q=%d;w=60' % self.limit),
            (b"ratelimit", b'"requests";r=%d;t=%d' % (self.remaining, self.seconds_to_next)),
        ]


class Rates:
    """One bucket a caller; of more than `MOST_CALLERS` the one not seen for longest is forgotten."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> Taken:
        """Takes one token if there is one."""
        moment = self._clock()
        room = max(self.per_minute, 1.0)
        tokens, seen = self._buckets.pop(caller, (room, moment))
        tokens = min(room, tokens + (moment - seen) * self.per_minute / 60)
        granted = tokens >= 1
        left = tokens - granted
        self._buckets[caller] = (left, moment)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
        seconds = math.ceil((1 - left % 1) * 60 / self.per_minute)
        return Taken(granted, limit=int(room), remaining=int(left), seconds_to_next=seconds)
