"""A suggestion for a name that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches


def suggestion(name: str, known: Iterable[str]) -> str:
    """``did you mean `CNN_v1`?``, whatever the case of the letters, or all that is known where nothing is close."""
    written = {each.casefold(): each for each in known}
    close = get_close_matches(name.casefold(), written, n=1)
    return f"did you mean `{written[close[0]]}`?" if close else f"choose from {', '.join(written.values())}"
