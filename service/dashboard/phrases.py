"""Times and states in words."""

from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3600, 86400


def moment(when: datetime | None) -> str:
    return "not yet" if when is None else when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def ago(when: datetime | None) -> str:
    """How long ago, roughly; beyond a month the date itself."""
    if when is None:
        return "not yet"
    seconds = (datetime.now(UTC) - when.astimezone(UTC)).total_seconds()
    if seconds < 10:
        return "just now"
    return f"{duration(seconds)} ago" if seconds < 31 * DAY else when.strftime("%Y-%m-%d")


def duration(seconds: float | None) -> str:
    """Two units at most: `42 s`, `3 min 20 s`, `2 h 5 min`, `3 days 4 h`."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole} s" if seconds >= 1 or whole else "under 1 s"
    if whole < HOUR:
        return _two(whole, MINUTE, "min", 1, "s")
    if whole < DAY:
        return _two(whole, HOUR, "h", MINUTE, "min")
    return _two(whole, DAY, "days" if whole >= 2 * DAY else "day", HOUR, "h")


def _two(seconds: int, large: int, larger: str, small: int, smaller: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large} {larger}" + (f" {rest} {smaller}" if rest else "")
