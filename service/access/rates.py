"""Rate limits: one token bucket for each caller, which holds the requests of a minute and is refilled steadily.

Each web process counts by itself, without shared state, and grants its share of the limit; all of them together never
grant more than the limit.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

MAX_CALLERS = 10_000

RawHeader = tuple[bytes, bytes]


@dataclass(frozen=True)
class RateLimit:
    """Whether a request was granted; how many of `limit` remain, and the whole seconds until there is one more."""

    granted: bool
    limit: int
    remaining: int
    seconds_to_next: int

    def headers(self) -> list[RawHeader]:
        """As draft-ietf-httpapi-ratelimit-headers names them, for the share of this web process."""
        return [
            (b"ratelimit-policy", b'"requests";q=%d;w=60' % self.limit),
            (b"ratelimit", b'"requests";r=%d;t=%d' % (self.remaining, self.seconds_to_next)),
        ]


class Rates:
    """One bucket for each caller; beyond `MAX_CALLERS` the least recently used one is dropped."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str) -> RateLimit:
        """Takes one token if there is one."""
        moment = self._clock()
        capacity = max(self.per_minute, 1.0)
        tokens, refilled_at = self._buckets.pop(caller, (capacity, moment))
        tokens = min(capacity, tokens + (moment - refilled_at) * self.per_minute / 60)
        granted = tokens >= 1
        left = tokens - granted
        self._buckets[caller] = (left, moment)
        if len(self._buckets) > MAX_CALLERS:
            self._buckets.popitem(last=False)
        seconds = math.ceil((1 - left % 1) * 60 / self.per_minute)
        return RateLimit(granted, limit=int(capacity), remaining=int(left), seconds_to_next=seconds)
