"""docs/reliability.md: faults, outcomes and broken invariants."""

import os
import platform
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.nemesis.history import Fact
from tests.end_to_end.stack import LEASE_SECONDS

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Run:
    """The run on one database, with its facts."""

    database: str
    seed: int
    seconds: float
    workers: int
    starts: int
    facts: Sequence[Fact]
    violations: Sequence[str]
    untried: Mapping[str, str]

    def of(self, kind: str) -> list[Fact]:
        return [fact for fact in self.facts if fact["kind"] == kind]


def report(runs: Sequence[Run]) -> str:
    faults = {run.database: Counter(fact["name"] for fact in run.of("fault")) for run in runs}
    names = sorted({name for run in runs for name in (*faults[run.database], *run.untried)})
    header = " | ".join(NAMES[run.database] for run in runs)
    rule = "---|" * (len(runs) + 1)
    table = "\n".join(
        f"| {name} | {' | '.join(str(faults[run.database][name] or run.untried.get(name, 0)) for run in runs)} |"
        for name in names
    )
    return f"""# Reliability

Written by `python -m benchmarks.nemesis` on {datetime.now(UTC):%Y-%m-%d}; every figure below is measured, on
{os.cpu_count()} cores ({platform.machine()}).

While experiments are submitted and cancelled, predictions asked for and champions moved, one fault after the other
happens to the stack. Everything that was answered, done and found is written to a history, and a checker
(`benchmarks/nemesis/checking.py`, itself tested) says afterwards what the history breaks. Trials are real processes
that act instead of training; their data is made up. Leases last {LEASE_SECONDS:g} s and the sweeper looks every 0.5 s.

{chr(10).join(_sentence(run) for run in runs)}

| what happened | {header} |
|{rule}
{table}

| what became of it | {header} |
|{rule}
{chr(10).join(_outcome(runs))}

## What is checked

- Every experiment whose submission was answered is on record, once for each idempotency key, and ends once; its events
  have no gap, and no phase opens twice.
- One model if it succeeded, none if it failed or was cancelled.
- All openings of an experiment's test set, also those repeated after a kill, are for the same bundle and threshold, and
  the recorded model is that bundle.
- Each move of the champion follows the one before, and each prediction was answered by a version that was champion, or
  had been until at most 2 s before; time in which the database or the web server was stopped counts double, as the
  allowance for whoever waits for it.
- No prediction that was answered is missing from the record, unless a web process was killed within 2.5 s of it, or of
  an outage of the database in which it waited.
- No process, no folder of a trial, no unrecorded bundle and no resume point is left.

## Why experiments failed

{chr(10).join(filter(None, map(_failed, runs))) or "None did."}

## What was broken

{chr(10).join(_broken(run) for run in runs)}
"""


def _sentence(run: Run) -> str:
    lost = sum("lost" in each for each in run.violations)
    return (
        f"**{NAMES[run.database]}, seed {run.seed}: {len(run.of('accepted'))} experiments over {run.workers} workers, "
        f"{len(run.of('fault'))} faults in {run.seconds:.0f} s. {lost} lost, {len(run.violations)} invariants broken.**"
    )


def _outcome(runs: Sequence[Run]) -> list[str]:
    ends = [Counter(fact["status"] for fact in run.of("ended")) for run in runs]
    rows: list[tuple[str, list[object]]] = [
        (f"experiments {status}", [end[status] for end in ends]) for status in ("succeeded", "cancelled", "failed")
    ]
    rows += [
        ("cancellations accepted", [len(run.of("cancelling")) for run in runs]),
        ("starts of a trial's process", [run.starts for run in runs]),
        ("openings of a test set", [len(run.of("opening")) for run in runs]),
        (
            "of these repeated",
            [len(run.of("opening")) - len({f["experiment"] for f in run.of("opening")}) for run in runs],
        ),
        ("predictions answered", [len(run.of("answered")) for run in runs]),
        ("of these on record", [_recorded(run) for run in runs]),
        ("moves of the champion", [len(run.of("move")) for run in runs]),
        ("median seconds from submission to end", [f"{statistics.median(_seconds(run)):.0f}" for run in runs]),
        ("longest", [f"{max(_seconds(run)):.0f}" for run in runs]),
    ]
    return [f"| {name} | {' | '.join(str(value) for value in values)} |" for name, values in rows]


def _recorded(run: Run) -> int:
    recorded = {prediction for fact in run.of("recorded") for prediction in fact["predictions"]}
    return sum(fact["prediction"] in recorded for fact in run.of("answered"))


def _seconds(run: Run) -> list[float]:
    return [fact["seconds"] for fact in run.of("ended") if fact["seconds"] is not None] or [0.0]


def _failed(run: Run) -> str:
    """Why experiments failed, and how often."""
    why = Counter(
        (fact.get("error") or {}).get("message", "") for fact in run.of("ended") if fact["status"] == "failed"
    )
    return "\n".join(f"- {NAMES[run.database]}, {count}: {each}" for each, count in why.most_common())


def _broken(run: Run) -> str:
    return (
        "\n".join(f"- {NAMES[run.database]}: {each}" for each in run.violations) or f"{NAMES[run.database]}: nothing."
    )
