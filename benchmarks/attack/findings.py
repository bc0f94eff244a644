"""An attack, what came of it, and the table of all of them."""

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Column, Table

if TYPE_CHECKING:
    from benchmarks.attack.target import Target


class Turn(Enum):
    """When an attack may run: by itself (memory and time are measured), among others, or at the end (it does harm)."""

    ALONE = 1
    TOGETHER = 2
    LAST = 3


@dataclass(frozen=True)
class Finding:
    """Whether the service resisted, and what happened."""

    held: bool
    happened: str


@dataclass(frozen=True)
class Attack:
    """`success` describes what the service does if the attack works."""

    name: str
    success: str
    run: "Callable[[Target], Finding]"
    turn: Turn = Turn.TOGETHER


@dataclass(frozen=True)
class Tried:
    """An attack that was carried out."""

    attack: Attack
    finding: Finding
    seconds: float


def attempt(attack: Attack, target: "Target") -> Tried:
    """Carries an attack out; an unexpected error counts as a success of the attack."""
    started = time.monotonic()
    try:
        finding = attack.run(target)
    except Exception as error:
        finding = Finding(False, f"{type(error).__name__}: {error}")
    tried = Tried(attack, finding, time.monotonic() - started)
    print(f"{'held  ' if finding.held else 'BROKEN'} {tried.seconds:5.1f} s  {attack.name}", file=sys.stderr)
    return tried


def tally(statuses: Iterable[int | str]) -> str:
    """`3 x 200, 1 x 503`: what was answered, how often; a word stands for no answer."""
    seen = list(statuses)
    return ", ".join(f"{seen.count(status)} x {status}" for status in sorted(set(seen), key=str)) or "nothing"


def exit_code(tried: Sequence[Tried]) -> int:
    """1 if any attack succeeded, or if none was carried out."""
    return 0 if tried and all(each.finding.held for each in tried) else 1


def table(tried: Sequence[Tried]) -> Table:
    columns = (
        Column("attack", ratio=3),
        Column("what a success would be", ratio=3),
        Column("what happened", ratio=5),
        Column("", no_wrap=True),
        Column("s", justify="right", no_wrap=True),
    )
    shown = Table(*columns, box=None, header_style="bold", pad_edge=False, expand=True)
    for each in tried:
        verdict = "held" if each.finding.held else "[bold red]BROKEN[/]"
        cells = escape(each.attack.name), escape(each.attack.success), escape(each.finding.happened)
        shown.add_row(*cells, verdict, f"{each.seconds:.1f}")
    return shown
