"""Is anything lost, duplicated or left over under faults? Hundreds of experiments under one fault after another.

    python -m benchmarks.nemesis [--database sqlite|postgresql|both] [--experiments 300] [--workers 4]
                                 [--fault-every 3] [--most-minutes 20] [--seed 0] [--report docs/reliability.md]

Real processes on a real database; scripted trials do not train. Takes about five minutes a database on two
cores. Expected: nothing broken, else the exit status is 1. The history of each run stays in `--histories`, if given.
Some faults need root (a small disk) or a C compiler (a clock that jumps); without, the report says so.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.attack.champion import populate
from benchmarks.databases import fresh_database
from benchmarks.nemesis.callers import Callers
from benchmarks.nemesis.checking import violations
from benchmarks.nemesis.databases import Victim
from benchmarks.nemesis.faults import Nemesis
from benchmarks.nemesis.finding import all_ended, find, starts
from benchmarks.nemesis.history import History
from benchmarks.nemesis.report import Run, report
from models_store.database import Database
from tests.end_to_end.stack import Stack

MODELS = 3
SCRIPT = {"epochs": 2, "seconds": 0.3, "seals": True}
SETTINGS = {"max_attempts": "20", "requests_per_minute": "100000", "least_scratch_bytes": "1000000"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--experiments", type=int, default=300)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--fault-every", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--most-minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--histories", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    kinds = ("sqlite", "postgresql") if arguments.database == "both" else (arguments.database,)
    print(f"seed {arguments.seed}", flush=True)
    runs = [run(kind, arguments) for kind in kinds]
    page = report(runs)
    print(page)
    if arguments.report:
        arguments.report.write_text(page)
    return 1 if any(each.violations for each in runs) else 0


def run(kind: str, arguments: argparse.Namespace) -> Run:
    """Submits experiments, injects faults, waits until all have ended or the time is up, and checks the history."""
    with fresh_database(kind) as url, tempfile.TemporaryDirectory(prefix="nemesis-") as name:
        folder, victim, database = Path(name), Victim(url), Database(url)
        keep = folder if arguments.histories is None else arguments.histories
        keep.mkdir(parents=True, exist_ok=True)
        history = History(keep / f"{kind}-{arguments.seed}.jsonl")
        history.path.unlink(missing_ok=True)
        history.add("planned", experiments=arguments.experiments)
        stack = Stack(folder, url, dict(SETTINGS))
        stack.direct(every=SCRIPT)
        nemesis = Nemesis(stack, victim, history, random.Random(arguments.seed), arguments.workers)
        began = time.monotonic()
        try:
            nemesis.prepare()
            models = populate(database, folder, MODELS)
            stack.start(arguments.workers)
            callers = Callers(stack, history, models, arguments.experiments, arguments.seed)
            callers.start()
            _inject_until_over(nemesis, callers, database, began + arguments.most_minutes * 60, arguments.fault_every)
            nemesis.reset_clock()
            _wait_until_over(database, began + arguments.most_minutes * 60)
            callers.stop()
            time.sleep(3)  # for the last predictions to be written
            seconds = time.monotonic() - began
            find(stack, history, database, {version.removeprefix("mdl_") for version in models})
        finally:
            stack.stop()
            nemesis.close()
            database.close()
        broken = violations(history.facts)
        return Run(
            kind,
            arguments.seed,
            seconds,
            arguments.workers,
            starts(stack),
            list(history.facts),
            broken,
            dict(nemesis.untried),
        )


def _inject_until_over(nemesis: Nemesis, callers: Callers, database: Database, deadline: float, every: float) -> None:
    """Injects faults until every experiment has ended, so that the last ones face as many as the first."""
    while time.monotonic() < deadline:
        if callers.submitted.is_set() and all_ended(database):
            return
        time.sleep(every)
        nemesis.inject_fault()


def _wait_until_over(database: Database, deadline: float) -> None:
    while not all_ended(database) and time.monotonic() < deadline + 60:
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
