"""Is anything lost? Hundreds of experiments while processes are killed at random.

    python -m benchmarks.soak [--experiments 200] [--workers 4] [--kill-every 2] [--most-minutes 20]

Real processes and a real PostgreSQL, trials that act instead of training. Every few seconds a trial, a worker, the
sweeper, the web server or the broker gets SIGKILL; all but the trial are started again, as a supervisor would. Takes
about five minutes on two cores. Expected: nothing lost and nothing doubled, else the exit status is 1. Writes
docs/reliability.md.
"""

import argparse
import os
import platform
import random
import signal
import statistics
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
from sqlalchemy import func, select

from benchmarks.databases import fresh_database
from models_store.database import Database
from models_store.tables import Experiment, Trial
from tests.end_to_end import invariants
from tests.end_to_end.stack import SPEC, Stack

REPORT = Path("docs/reliability.md")
STUDY = SPEC | {"architectures": ["CNN_v1", "CNN_v2"], "strategies": ["LowLR"]}
TRIALS_EACH = 4
EPOCHS, EPOCH_SECONDS = 2, 0.4


@dataclass(frozen=True)
class Soaked:
    """What was done to the stack, and what became of the experiments."""

    seconds: float
    workers: int
    kills: Counter[str]
    accepted: int
    ends: Counter[str]
    attempts: Counter[int]
    starts: int
    violations: Sequence[str]
    waits: Sequence[float]

    @property
    def lost(self) -> int:
        return self.accepted - sum(self.ends[end] for end in invariants.TERMINAL)

    @property
    def is_clean(self) -> bool:
        return self.lost == 0 and not self.violations


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=200)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kill-every", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--most-minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with fresh_database("postgresql") as url, tempfile.TemporaryDirectory(prefix="soak-") as folder:
        stack = Stack(Path(folder), url, {"max_attempts": "5"})
        stack.direct(every={"epochs": EPOCHS, "seconds": EPOCH_SECONDS})
        try:
            stack.start(asked.workers)
            soaked = soak(stack, asked.experiments, asked.workers, asked.kill_every, asked.most_minutes, asked.seed)
        finally:
            stack.stop()
    REPORT.write_text(report(soaked, asked))
    print(REPORT.read_text())
    return 0 if soaked.is_clean else 1


def soak(stack: Stack, experiments: int, workers: int, kill_every: float, most_minutes: float, seed: int) -> Soaked:
    """Submits, kills and waits until every experiment has ended or the time is up."""
    chance = random.Random(seed)
    began = time.monotonic()
    next_kill = began + kill_every
    kills: Counter[str] = Counter()
    accepted: list[str] = []
    while (moment := time.monotonic()) - began < most_minutes * 60:
        if len(accepted) < experiments:
            accepted.append(submit(stack))
        elif _unfinished(stack) == 0:
            break
        else:
            time.sleep(0.5)
        if moment >= next_kill:
            kills[kill_one(stack, workers, chance)] += 1
            next_kill = moment + kill_every
    seconds = time.monotonic() - began
    return _judge(stack, accepted, seconds, workers, kills)


def submit(stack: Stack) -> str:
    """Submits until it is accepted; the key makes sure that an answer that was lost submits nothing twice."""
    key = {"Idempotency-Key": uuid.uuid4().hex}
    while True:
        with suppress(httpx.HTTPError):
            address = f"http://127.0.0.1:{stack.web_port}/v1/experiments"
            answer = httpx.post(address, json=STUDY, headers=key, timeout=5, trust_env=False)
            accepted: str = answer.raise_for_status().json()["id"]
            return accepted
        time.sleep(0.1)


def kill_one(stack: Stack, workers: int, chance: random.Random) -> str:
    """Kills one process, a trial as often as a worker, and starts it again if it was no trial."""
    victim = chance.choice(["trial", "trial", "worker", "worker", "sweeper", "web", "broker"])
    if victim == "trial":
        trials = [pid for pid, command in stack.marked().items() if "acting_trial" in command]
        if trials:
            with suppress(ProcessLookupError):
                os.killpg(chance.choice(trials), signal.SIGKILL)
        return victim
    name = f"worker{chance.randrange(workers)}" if victim == "worker" else victim
    stack.kill(name)
    if victim == "broker":
        stack.start_broker()
    else:
        stack.start_process(name)
    return victim


def _unfinished(stack: Stack) -> int:
    database = Database(stack.database_url)
    with database.read() as session:
        unfinished = select(func.count()).select_from(Experiment).where(Experiment.status.in_(("queued", "running")))
        found = session.scalar(unfinished) or 0
    database.dispose()
    return found


def _judge(stack: Stack, accepted: list[str], seconds: float, workers: int, kills: Counter[str]) -> Soaked:
    violations = []
    for experiment_id in accepted:
        try:
            invariants.hold(stack, [experiment_id], most_starts=5)
        except AssertionError as violation:
            violations.append(f"{experiment_id}: {violation}")
    database = Database(stack.database_url)
    with database.read() as session:
        rows = session.scalars(select(Experiment)).all()
        attempts = Counter(session.scalars(select(Trial.attempts)))
    database.dispose()
    if len(rows) != len(set(accepted)):
        violations.append(f"{len(set(accepted))} experiments were accepted, {len(rows)} are on record")
    waits = [(row.finished_at - row.created_at).total_seconds() for row in rows if row.finished_at is not None]
    ends = Counter(row.status for row in rows)
    starts = len(stack.starts())
    return Soaked(seconds, workers, kills, len(accepted), ends, attempts, starts, violations, waits)


def report(soaked: Soaked, asked: argparse.Namespace) -> str:
    kills = "\n".join(f"| {victim} | {count} |" for victim, count in soaked.kills.most_common())
    ends = "\n".join(f"| {status} | {count} |" for status, count in soaked.ends.most_common())
    attempts = "\n".join(f"| {attempt} | {count} |" for attempt, count in sorted(soaked.attempts.items()))
    violations = "\n".join(f"- {violation}" for violation in soaked.violations) or "None."
    return f"""# Reliability

Written by `python -m benchmarks.soak` on {datetime.now(UTC):%Y-%m-%d}; every figure below is measured.

{soaked.accepted} experiments of {TRIALS_EACH} trials over {soaked.workers} workers, one slot each, on
{os.cpu_count()} cores ({platform.machine()}), PostgreSQL and Valkey. Trials are real processes that act instead of
training: {EPOCHS} epochs of {EPOCH_SECONDS} s. Every {asked.kill_every:g} s one process got SIGKILL at random (seed
{asked.seed}); all but trials were started again at once. Leases lasted 4 s, the sweeper looked every 0.5 s, and a trial
had five attempts. It took {soaked.seconds:.0f} s.

**{soaked.lost} experiments lost, {len(soaked.violations)} invariants broken.**

| killed | times |
|---|---|
{kills}
| all | {soaked.kills.total()} |

| experiments ended | |
|---|---|
{ends}

| attempts of a trial | trials |
|---|---|
{attempts}

{soaked.attempts.total()} trials took {soaked.starts} starts of a process. Half of the experiments ended within
{statistics.median(soaked.waits):.1f} s of their submission, the last within {max(soaked.waits):.1f} s; most of that is
waiting for a slot.

## Invariants

Of every experiment: it ends; its events are numbered without a gap and tell of one end; each phase is opened once;
fine-tuning starts from one winner; one model and one opening of the test set are on record if it succeeded, none if
not; no trial is started more often than it has attempts; no process and no folder of a trial is left.

Broken: {violations}
"""


if __name__ == "__main__":
    sys.exit(main())
