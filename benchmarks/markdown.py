"""Parts of the Markdown pages of several benchmarks."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from models_store.scoring.paired import Difference
from models_store.wording import signed


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def difference(found: Difference) -> str:
    """A difference with its interval."""
    return f"{signed(found.value)} ({signed(found.low)} to {signed(found.high)})"


def replace_last_section(page: Path, heading: str, section: str) -> None:
    """Writes `section` in place of everything from `heading` on; on a page without it, at the end."""
    before = page.read_text(encoding="utf-8").split(heading)[0].rstrip()
    page.write_text(f"{before}\n\n{section}", encoding="utf-8")
