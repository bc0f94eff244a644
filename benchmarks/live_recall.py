"""How soon does the alert of live recall come, and how often is it a false alarm? Simulated streams of known recall.

    python -m benchmarks.live_recall [--streams 1000] [--seed 0] [--report docs/live-recall.md]

Three minutes. Each stream is judged by the functions that the product uses, after every verified miss and not between
two. `--report` replaces the last section of the page. Expected: where recall is 0.80 and every image is verified, at
least 90 % of the streams raise the alert within 150 verified malignant images; where the promise is kept, at most 5 %
raise it before they end. Otherwise the exit status is 1.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import markdown
from models_store.monitoring.live_recall import Calls, Estimate, Period, estimate, evidence
from models_store.wording import measured_percent, percent, rate

TARGET, CONFIDENCE = 0.90, 0.95
PREVALENCE, SPECIFICITY = 0.2, 0.6
MALIGNANT_A_PERIOD = 100
SOON = 150
HEADING = "## Measured on simulated streams"
UNEXPECTED = "The alert comes later, or more often without a reason, than it should."
COLUMNS = (
    "recall",
    "verified of malignant and benign calls",
    "malignant lesions",
    "alerts",
    f"within {SOON}",
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
        """The periods after the first `seen` lesions."""
        bounds = [*self.starts[self.starts < seen], seen]
        return [
            Period(*(Calls(*map(int, label)) for label in self.counts[end] - self.counts[start]))
            for start, end in pairwise(bounds)
        ]


@dataclass(frozen=True)
class Course:
    """How many verified malignant images it took to raise the alert, if it was raised, and the recall at the end."""

    alert_at: int | None
    shown: Estimate | None


@dataclass(frozen=True)
class Row:
    """Shares of `streams`; means and `covered` over those that show a recall.

    `soon` and `median` count from a fall of recall on, so that alerts before it are in `alerts` alone.
    """

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
    """Reads the evidence after every verified miss: if all images are verified, only a miss raises it."""
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
    alerts = [course.alert_at for course in courses if course.alert_at is not None]
    delays = [alert_at - scenario.falls_at for alert_at in alerts if alert_at > scenario.falls_at]
    shown = [course.shown for course in courses if course.shown is not None]
    return Row(
        scenario,
        streams,
        alerts=len(alerts) / streams,
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
        markdown.replace_last_section(arguments.report, HEADING, text)
    return 0 if all(row.holds for row in rows) else 1


def section(rows: Sequence[Row], seed: int) -> str:
    table = markdown.table(COLUMNS, map(_cells, rows))
    broken = "" if all(row.holds for row in rows) else f"\n**{UNEXPECTED}**\n"
    return f"""{HEADING}

Written by `python -m benchmarks.live_recall --seed {seed}`: {rows[0].streams:,} streams a row.
{percent(PREVALENCE)} of the lesions are malignant, specificity is {SPECIFICITY}, and a new period begins after
every {MALIGNANT_A_PERIOD} malignant lesions. The promise is a recall of {TARGET:.2f} with {percent(CONFIDENCE)}
confidence. A stream ends with the given number of malignant lesions, and `alerts` is the share of streams that raise
the alert before. The evidence is read after every verified miss. `within {SOON}` is the share of streams in which the
alert comes within {SOON} verified malignant images, and the median counts these images, both from the fall on where
recall falls later; the median is left out where fewer than half of the streams raise the alert. Whether an image is
verified depends on its label alone, as the correction assumes. The last three columns are at the end of the stream:
means, and the share of intervals that hold the true recall.

{table}
{broken}"""


def _cells(row: Row) -> tuple[str, ...]:
    scenario = row.scenario
    falls = f"{scenario.recall:.2f}, {scenario.later:.2f} after {scenario.falls_at:,}" if scenario.later else ""
    return (
        falls or f"{scenario.recall:.2f}",
        f"{percent(scenario.verified_malignant)}, {percent(scenario.verified_benign)}",
        f"{scenario.malignant:,}",
        measured_percent(row.alerts),
        measured_percent(row.soon),
        "" if row.median is None else f"{row.median:.0f}",
        rate(row.recall),
        rate(row.among_verified),
        "" if falls else measured_percent(row.covered),
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, help="the page whose last section is replaced")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
