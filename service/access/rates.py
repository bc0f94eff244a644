"""How often one caller may ask: a bucket of tokens each, refilled steadily, holding a minute's worth.

Each web process counts by itself, without asking anything, and grants its share of the limit; all of them together
never grant more than the limit.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable

MOST_CALLERS = 10_000


class Rates:
    """One bucket a caller; of more than `MOST_CALLERS` the one not seen for longest is forgotten."""

    def __init__(self, per_minute: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def seconds_to_wait(self, caller: str) -> int:
        """0 and one token taken, or the whole seconds until there is one again."""
        moment = self._clock()
        room = max(self.per_minute, 1.0)
        tokens, seen = self._buckets.pop(caller, (room, moment))
        tokens = min(room, tokens + (moment - seen) * self.per_minute / 60)
        granted = tokens >= 1
        self._buckets[caller] = (tokens - granted, moment)
        if len(self._buckets) > MOST_CALLERS:
            self._buckets.popitem(last=False)
        return 0 if granted else math.ceil((1 - tokens) * 60 / self.per_minute)
