"""Does the service hold? Attacks over real sockets on a real stack, each with what its success would be.

    python -m benchmarks.attack [--database sqlite] [--only WORDS]

Starts broker, worker, sweeper and web server with a fabricated champion, takes less than two minutes on two cores and
leaves nothing behind. SQLite accepts some values that PostgreSQL refuses, so try both. Expected: every line is `held`,
otherwise the exit status is 1. Needs Linux, whose /proc has the memory of a process.
"""

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from rich.console import Console

from benchmarks.attack import callers, crowds, inputs, smuggling, specs, uploads
from benchmarks.attack.findings import Attack, Finding, Tried, Turn, attempt, exit_code, table
from benchmarks.attack.target import Target, running

ATTACKS = (*crowds.ATTACKS, *smuggling.ATTACKS, *uploads.ATTACKS, *specs.ATTACKS, *inputs.ATTACKS, *callers.ATTACKS)
TOGETHER = 12
WIDTH = 160


def main() -> int:
    arguments = _arguments()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: sys.exit("ended by a signal"))  # so that every process ends too
    chosen = [attack for attack in ATTACKS if arguments.only in attack.name]
    with running(arguments.database) as target:
        tried = list(carry_out(chosen, target))
    out = Console(width=None if sys.stdout.isatty() else WIDTH)
    out.print(table(tried))
    out.print(f"{sum(not each.finding.held for each in tried)} of {len(tried)} attacks succeeded.")
    return exit_code(tried)


def carry_out(attacks: Sequence[Attack], target: Target) -> Iterator[Tried]:
    """Runs attacks that measure one by one, the others in parallel, harmful ones at the end; then checks the log."""
    turns = {turn: [attack for attack in attacks if attack.turn is turn] for turn in Turn}
    for attack in turns[Turn.ALONE]:
        tried = _survived(attempt(attack, target), target)
        if not tried.finding.held:
            target.renew("web")  # it may still be busy with the request
        yield tried
    with ThreadPoolExecutor(TOGETHER) as threads:
        yield from threads.map(lambda attack: attempt(attack, target), turns[Turn.TOGETHER])
    for attack in turns[Turn.LAST]:
        yield _survived(attempt(attack, target), target)
    yield attempt(inputs.LOG, target)


def _survived(tried: Tried, target: Target) -> Tried:
    ended = target.start_again()
    if not ended:
        return tried
    return Tried(tried.attack, Finding(False, f"{tried.finding.happened}; ended: {', '.join(ended)}"), tried.seconds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--only", default="", metavar="WORDS", help="attacks whose names hold these words")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
