"""What does scheduling add to a trial, and what breaks first at a hundred workers?

    python -m benchmarks.scheduling [--trial-seconds 2]

Times sleeping trials over one to eight real workers, and each transaction of a worker, on PostgreSQL; checks the
simulation against the real workers, then simulates 10,000 experiments on 100 and more. Takes about four minutes on
two cores. Expected: at least 90 % of the ideal speed on four workers, and a simulation within 15 % of what was
measured, else the exit status is 1. Writes docs/scaling.md.
"""

import argparse
import os
import platform
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select

from benchmarks.databases import fresh_database
from benchmarks.simulation import Costs, Load, Outcome, most_workers, simulate, steady_database, steady_store
from benchmarks.transaction_costs import CLIENTS, Measured, measure
from models_store.broker import broker, wake
from models_store.contract.catalog import ARCHITECTURES, STRATEGIES
from models_store.database import Database
from models_store.settings import Settings
from models_store.tables import Trial
from tests.end_to_end.stack import Stack, eventually

REPORT = Path("docs/scaling.md")
WORKERS = (1, 2, 4, 8)
TRIALS_A_WORKER = 13
PHASES = (len(ARCHITECTURES), len(STRATEGIES), 1)
MESSAGES = 500
# Weights, and the two moments that Adam keeps of each; a resume point holds them and the best weights so far.
BYTES_A_PARAMETER, RESUME_SHARE = 4, 4
STORE_BYTES_A_SECOND = 1e9  # ten gigabits, less what the protocol takes


@dataclass(frozen=True)
class FanOut:
    """A phase of sleeping trials on some workers."""

    workers: int
    trials: int
    seconds: float
    trial_seconds: float

    @property
    def speed_up(self) -> float:
        return self.trials * self.trial_seconds / self.seconds

    @property
    def overhead(self) -> float:
        """Seconds that scheduling adds to each trial."""
        return self.seconds * self.workers / self.trials - self.trial_seconds


@dataclass(frozen=True)
class Scenario:
    """The network that every slot trains."""

    name: str
    parameters: int
    epoch_seconds: float


# Parameters with the catalog's heads. CNN_v1's epoch of 5 s on two cores was measured; the others' are assumptions.
SCENARIOS = (
    Scenario("CNN_v1 on two cores", 685_506, 5.0),
    Scenario("EfficientNetB0, all of it, on a GPU", 4_214_309, 6.0),
    Scenario("ResNet50, all of it, on a GPU", 24_113_794, 10.0),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trial-seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    with fresh_database("postgresql") as url:
        measured = measure(url)
    fans = [fan_out(workers, arguments.trial_seconds) for workers in WORKERS]
    rate = messages_a_second()
    expected = [predicted(fan, fans[0], measured.costs) for fan in fans]
    REPORT.write_text(report(measured, fans, expected, rate))
    print(REPORT.read_text())
    is_near = all(abs(guess.seconds / fan.seconds - 1) < 0.15 for guess, fan in zip(expected, fans, strict=True))
    four = next(fan for fan in fans if fan.workers == 4)
    return 0 if is_near and four.speed_up > 3.6 else 1


def fan_out(workers: int, trial_seconds: float) -> FanOut:
    """One phase of thirteen sleeping trials for each worker, timed by the database's own clock."""
    weights = ["W0", "W3", "W5"]
    with fresh_database("postgresql") as url, tempfile.TemporaryDirectory(prefix="fan-") as folder:
        stack = Stack(Path(folder), url, {"lease_seconds": "60"})
        stack.direct(every={"epochs": 1, "seconds": trial_seconds, "end": "collapsed"})
        try:
            stack.start(workers)
            ids = [
                stack.submit(architectures=list(ARCHITECTURES), class_weights=[weights[number % 3]], epochs=1)
                for number in range(workers * TRIALS_A_WORKER // len(ARCHITECTURES))
            ]
            eventually(lambda: all(stack.read(number)["status"] == "failed" for number in ids), 300)
        finally:
            stack.stop()
        database = Database(url)
        with database.read() as session:
            trials = session.scalars(select(Trial)).all()
        database.close()
    begun = min(trial.started_at for trial in trials if trial.started_at is not None)
    ended = max(trial.finished_at for trial in trials if trial.finished_at is not None)
    return FanOut(workers, len(trials), (ended - begun).total_seconds(), trial_seconds)


def messages_a_second() -> float:
    """How many wake-up calls one process sends."""
    with tempfile.TemporaryDirectory(prefix="broker-") as folder:
        stack = Stack(Path(folder), f"sqlite:///{folder}/none.db")
        stack.start_broker()
        celery = broker(Settings(broker_url=stack.broker_url, _env_file=None))
        wake(celery, "cpu")
        began = time.perf_counter()
        wake(celery, "cpu", MESSAGES)
        seconds = time.perf_counter() - began
        celery.close()
        stack.stop()
    return MESSAGES / seconds


def predicted(fan: FanOut, alone: FanOut, costs: Costs) -> Outcome:
    """The same phase in the simulation; the start of a process is the overhead of the trials on one worker."""
    load = Load(
        experiments=fan.trials // TRIALS_A_WORKER,
        phases=(TRIALS_A_WORKER,),
        workers=fan.workers,
        startup_seconds=alone.overhead - costs.claim - costs.record,
        epochs=1,
        epoch_seconds=fan.trial_seconds,
    )
    return simulate(load, costs)


def cluster(scenario: Scenario, workers: int) -> Load:
    checkpoint = scenario.parameters * BYTES_A_PARAMETER
    return Load(
        experiments=10_000,
        phases=PHASES,
        workers=workers,
        startup_seconds=6.0,
        epochs=30,
        epoch_seconds=scenario.epoch_seconds,
        checkpoint_bytes=checkpoint,
        resume_bytes=checkpoint * RESUME_SHARE,
        store_bytes_a_second=STORE_BYTES_A_SECOND,
    )


def report(measured: Measured, fans: list[FanOut], expected: list[Outcome], messages: float) -> str:
    costs = measured.costs
    hundred = [(scenario, cluster(scenario, 100)) for scenario in SCENARIOS]
    heaviest = hundred[-1][1]
    rows = heaviest.trials * heaviest.epochs
    return f"""# Scaling

Written by `python -m benchmarks.scheduling` on {datetime.now(UTC):%Y-%m-%d}, on {os.cpu_count()} cores
({platform.machine()}), PostgreSQL and Valkey on the same machine.

## Measured: a phase over real workers

Trials are real processes that sleep for {fans[0].trial_seconds:g} s. Overhead is what scheduling adds to a trial:
claim, start of a process, record, next wake-up call. The simulation knows only the costs below and the overhead on one
worker.

| workers | trials | seconds | speed-up | overhead a trial | simulated seconds |
|---|---|---|---|---|---|
{_fan_rows(fans, expected)}

## Measured: the transactions of a worker

| transaction, committed | milliseconds |
|---|---|
| claim of a trial | {costs.claim * 1000:.1f} |
| heartbeat with an epoch | {costs.epoch * 1000:.1f} |
| status check (every {heaviest.status_check_every_seconds:g} s: cancelled, lost?) | {costs.status_check * 1000:.1f} |
| record of an end, and the check of its phase | {costs.record * 1000:.1f} |
| opening of a phase | {costs.open * 1000:.1f} |

{CLIENTS} clients together write {measured.epochs_a_second:.0f} epochs a second, as {costs.at_once:.1f} clients would
that do not disturb each other. An epoch's row and event take {measured.bytes_an_epoch:.0f} bytes with their indexes.
One process sends {messages:.0f} wake-up calls a second.

## Simulated: 10,000 experiments on 100 slots

Each of {" + ".join(map(str, PHASES))} trials, 30 epochs a trial, 6 s of imports, a resume point in the store every
{heaviest.resume_every_seconds:.0f} s, a store of {STORE_BYTES_A_SECOND / 1e9:g} GB/s. The transactions' costs are the
measured ones. Parameters are facts; of the epochs' seconds only the first is measured, on this machine.

| | days | slots training | database | store | longest wait for a claim |
|---|---|---|---|---|---|
{_cluster_rows(hundred, costs)}

## Arithmetic: what breaks first

A slot that trains asks the database for one epoch every epoch and one status check every
{heaviest.status_check_every_seconds:g} s, and the store for a resume point (weights, Adam's two moments, best weights:
{RESUME_SHARE * BYTES_A_PARAMETER} bytes a parameter) every {heaviest.resume_every_seconds:.0f} s.

| | database, a slot | store, a slot | slots until one is full | which |
|---|---|---|---|---|
{_limit_rows(hundred, costs)}

- **Store.** The first to break for large networks: {heaviest.resume_bytes / 1e6:.0f} MB each. Raise
  `RESUME_UPLOAD_SECONDS`; what it costs is at most that much training when a machine, not a process, dies.
- **Database.** {rows:,} epochs and as many events of 10,000 experiments take
  {rows * measured.bytes_an_epoch / 1e9:.1f} GB. It is the first to break for small networks. All changes of one
  experiment queue up on its row, so an experiment bears about {1 / costs.epoch:.0f} epochs a second, however many
  workers it has.
- **Broker.** {heaviest.trials:,} trials need about as many messages in all; at 100 slots with the shortest trials
  above that is {100 / hundred[0][1].trial_seconds:.1f} a second of the {messages:.0f} that one process sends. It does
  not break first, and losing it loses nothing.
"""


def _fan_rows(fans: list[FanOut], expected: list[Outcome]) -> str:
    return "\n".join(
        f"| {fan.workers} | {fan.trials} | {fan.seconds:.1f} | {fan.speed_up:.2f} | {fan.overhead * 1000:.0f} ms | "
        f"{guess.seconds:.1f} |"
        for fan, guess in zip(fans, expected, strict=True)
    )


def _cluster_rows(scenarios: list[tuple[Scenario, Load]], costs: Costs) -> str:
    ran = [(scenario, simulate(load, costs)) for scenario, load in scenarios]
    return "\n".join(
        f"| {scenario.name} | {outcome.seconds / 86400:.1f} | {outcome.efficiency:.1%} | {outcome.database:.1%} | "
        f"{outcome.store:.1%} | {outcome.longest_wait:.1f} s |"
        for scenario, outcome in ran
    )


def _limit_rows(scenarios: list[tuple[Scenario, Load]], costs: Costs) -> str:
    rows = []
    for scenario, load in scenarios:
        one = replace(load, workers=1)
        slots, first = most_workers(load, costs)
        shares = f"{steady_database(one, costs):.3%} | {steady_store(one):.3%}"
        rows.append(f"| {scenario.name} | {shares} | {slots:,} | {first} |")
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
