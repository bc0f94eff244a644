"""Times of the same work on both databases, and their table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import markdown


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one measurement: the median and the slowest."""

    what: str
    median: float
    slowest: float

    @classmethod
    def of(cls, what: str, milliseconds: Sequence[float]) -> "Timing":
        return cls(what, statistics.median(milliseconds), max(milliseconds))


def by_database(timings: Mapping[str, Sequence[Timing]], digits: int) -> str:
    """A row for each measurement; `timings` are those on `sqlite` and on `postgresql`."""
    rows = [
        (lite.what, *(f"{each:.{digits}f}" for each in (lite.median, lite.slowest, post.median, post.slowest)))
        for lite, post in zip(timings["sqlite"], timings["postgresql"], strict=True)
    ]
    return markdown.table(("", "SQLite: median", "slowest", "PostgreSQL: median", "slowest"), rows)
