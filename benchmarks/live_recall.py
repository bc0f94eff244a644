"""Does the alert of live recall come soon, and seldom without a reason? A simulated stream of lesions, known exactly.

    python -m benchmarks.live_recall [--streams 1000] [--seed 0] [--report docs/live-recall.md]

Three minutes. Each stream is judged by the functions that the product uses, after every verified miss. `--report`
replaces the last section of the page. Expected: where recall is 0.80 at least 90 % of the alerts come within 150
malignant outcomes, where the promise is kept at most 5 % ever come; otherwise the exit status is 1.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models_store.monitoring.live_recall import Calls, Estimate, Period, estimate, evidence

TARGET, CONFIDENCE = 0.90, 0.95
PREVALENCE, SPECIFICITY = 0.2, 0.6
MALIGNANT_A_PERIOD = 100
SOON = 150
HEADING = "## Measured on simulated streams"
COLUMNS = (
    "recall",
    "verified of malignant and benign calls",
    "malignant lesions",
    "alerts",
    "within 150",
    "median",
    "mean recall shown",
    "uncorrected",
    "in the interval",
)


@dataclass(frozen=True)
class Scenario:
    """`recall` of the first malignant lesions, `later` that of those from number `falls_at` on."""

    recall: float
    malignant: int
    later: float | None = None
    falls_at: int = 0
    verified_malignant: float = 1.0
    verified_benign: float = 1.0

    @property
    def keeps_promise(self) -> bool:
        return min(self.recall, self.later or 1.0) >= TARGET


SCENARIOS = (
    Scenario(0.80, 400),
    Scenario(0.85, 1_000),
    Scenario(0.90, 2_000),
    Scenario(0.93, 2_000),
    Scenario(0.93, 2_000, later=0.80, falls_at=1_000),
    Scenario(0.80, 2_000, verified_malignant=0.9, verified_benign=0.2),
    Scenario(0.90, 2_000, verified_malignant=0.9, verified_benign=0.2),
)


@dataclass(frozen=True)
class Stream:
    """Lesions in order: for each the running counts (images, verified, malignant of the verified) by label.

    `counts` (N + 1, 2, 3) begins with zeros; label 0 is malignant. `starts` are the first lesions of the periods, and
    `malignant` (N,) says which lesions are.
    """

    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    malignant: NDArray[np.bool_]

    def periods(self, seen: int) -> list[Period]:
        """The periods as they stand once so many lesions were seen."""
        bounds = [*self.starts[self.starts < seen], seen]
        return [
            Period(*(Calls(*map(int, label)) for label in self.counts[end] - self.counts[start]))
            for start, end in pairwise(bounds)
        ]


@dataclass(frozen=True)
class Course:
    """What one stream led to: the malignant outcome at which the alert came, if it did, and the recall at its end."""

    alert_at: int | None
    shown: Estimate | None


@dataclass(frozen=True)
class Row:
    """Shares of `streams`, and means over those that show a recall."""

    scenario: Scenario
    streams: int
    alerts: float
    soon: float
    median: float | None
    recall: float
    among_verified: float
    covered: float

    @property
    def holds(self) -> bool:
        if self.scenario.keeps_promise:
            return self.alerts <= 1 - CONFIDENCE
        return self.scenario != SCENARIOS[0] or self.soon >= 0.9


def draw(scenario: Scenario, random: np.random.Generator) -> Stream:
    malignant = random.random(round(1.2 * scenario.malignant / PREVALENCE)) < PREVALENCE
    malignant = malignant[: int(np.searchsorted(np.cumsum(malignant), scenario.malignant)) + 1]
    number = np.cumsum(malignant) - 1
    recall = np.full(len(malignant), scenario.recall)
    if scenario.later is not None:
        recall[number >= scenario.falls_at] = scenario.later
    called = random.random(len(malignant)) < np.where(malignant, recall, 1 - SPECIFICITY)
    chance = np.where(called, scenario.verified_malignant, scenario.verified_benign)
    verified = random.random(len(malignant)) < chance
    marks = np.stack([np.ones_like(called), verified, verified & malignant], axis=1)
    by_label = np.stack([called, ~called], axis=1)[:, :, np.newaxis] & marks[:, np.newaxis, :]
    counts = np.concatenate([np.zeros((1, 2, 3), np.int64), np.cumsum(by_label, axis=0, dtype=np.int64)])
    starts = np.flatnonzero(malignant & (number % MALIGNANT_A_PERIOD == 0))
    return Stream(counts, np.concatenate([[0], starts[1:]]), malignant)


def follow(stream: Stream) -> Course:
    """Reads the evidence after every verified miss, which alone can raise it where all images are verified."""
    misses = np.flatnonzero(np.diff(stream.counts[:, 1, 2])) + 1
    alert_at = next(
        (
            int(stream.counts[seen, :, 2].sum())
            for seen in misses
            if (evidence(stream.periods(seen), TARGET) or 0) >= 1 / (1 - CONFIDENCE)
        ),
        None,
    )
    total = sum(stream.periods(len(stream.malignant)), Period())
    return Course(alert_at, estimate(total, CONFIDENCE))


def measure(scenario: Scenario, streams: int, seed: int) -> Row:
    random = np.random.default_rng(seed)
    courses = [follow(draw(scenario, random)) for _ in range(streams)]
    fell = scenario.falls_at
    delays = [course.alert_at - fell for course in courses if course.alert_at is not None]
    shown = [course.shown for course in courses if course.shown is not None]
    return Row(
        scenario,
        streams,
        alerts=len(delays) / streams,
        soon=sum(delay <= SOON for delay in delays) / streams,
        median=float(np.median(delays)) if len(delays) > streams / 2 else None,
        recall=float(np.mean([each.recall for each in shown])),
        among_verified=float(np.mean([each.among_verified for each in shown])),
        covered=float(np.mean([each.low <= scenario.recall <= each.high for each in shown])),
    )


def main() -> int:
    arguments = _arguments()
    rows = [measure(scenario, arguments.streams, arguments.seed) for scenario in SCENARIOS]
    text = section(rows, arguments.seed)
    print(text)
    if arguments.report:
        page = arguments.report.read_text(encoding="utf-8")
        arguments.report.write_text(f"{page.split(HEADING)[0].rstrip()}\n\n{text}", encoding="utf-8")
    return 0 if all(row.holds for row in rows) else 1


def section(rows: Sequence[Row], seed: int) -> str:
    table = "\n".join([_cells(COLUMNS), _cells(["---"] * len(COLUMNS)), *map(_line, rows)])
    broken = "" if all(row.holds for row in rows) else "\n**A figure is outside what this page promises.**\n"
    return f"""{HEADING}

Written by `python -m benchmarks.live_recall --seed {seed}`: {rows[0].streams:,} streams a row.
{_percent(PREVALENCE, 0)} of the lesions are malignant, specificity is {SPECIFICITY}, and a new period begins after
every {MALIGNANT_A_PERIOD} malignant lesions. The promise is a recall of {TARGET:.2f} with
{_percent(CONFIDENCE, 0)} confidence. A stream ends with the given number of malignant lesions. `within 150` and the
median count verified malignant outcomes until the alert, from the fall on where recall falls later; the median is left
out where fewer than half of the streams raise the alert.
The last three columns are at the end of the stream.

{table}
{broken}"""


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _line(row: Row) -> str:
    scenario = row.scenario
    falls = f"{scenario.recall:.2f}, {scenario.later:.2f} after {scenario.falls_at:,}" if scenario.later else ""
    return _cells(
        (
            falls or f"{scenario.recall:.2f}",
            f"{_percent(scenario.verified_malignant, 0)}, {_percent(scenario.verified_benign, 0)}",
            f"{scenario.malignant:,}",
            _percent(row.alerts),
            _percent(row.soon),
            "" if row.median is None else f"{row.median:.0f}",
            f"{row.recall:.3f}",
            f"{row.among_verified:.3f}",
            "" if falls else _percent(row.covered),
        )
    )


def _percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="the page whose last section is replaced")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
