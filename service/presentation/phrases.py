"""Dates, durations and names of files in short English, as template filters."""

import re
from datetime import UTC, datetime
from textwrap import shorten

from markupsafe import Markup, escape

MINUTE, HOUR, DAY = 60, 3600, 86400


def code(text: str) -> Markup:
    """Text in which backticks become `<code>`; everything else is escaped."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def at_server(text: str, address: str) -> str:
    """Text whose commands in backticks name the server, so that they work in any folder."""
    return re.sub(r"`(dermatriage [^`]+)`", lambda command: f"`{command[1]} --url {address}`", text)


def file_name(text: str) -> str:
    """Lower-case words joined by hyphens, in at most 60 characters, as part of a file's name."""
    return shorten(re.sub(r"[^a-z0-9]+", " ", text.lower()), 60, placeholder="").replace(" ", "-")


def moment(when: datetime | None, *, seconds: bool = False) -> str:
    """A date and time in UTC, to the minute or to the second."""
    return "not yet" if when is None else when.astimezone(UTC).strftime(f"%Y-%m-%d %H:%M{':%S' if seconds else ''} UTC")


def ago(when: datetime | None) -> str:
    """How long ago, in one unit; after a month, the date."""
    if when is None:
        return "not yet"
    seconds = (datetime.now(UTC) - when.astimezone(UTC)).total_seconds()
    if seconds < 10:
        return "just now"
    for size, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min"), (1, "s")):
        if seconds >= size and seconds < 31 * DAY:
            whole = int(seconds // size)
            return f"{whole} {name if whole != 1 or size != DAY else 'day'} ago"
    return when.strftime("%Y-%m-%d")


def duration(seconds: float | None) -> str:
    """In at most two units: `42 s`, `3 min 20 s`, `2 h 5 min`, `3 days 4 h`."""
    if seconds is None:
        return "–"
    whole = max(0, round(seconds))
    if whole < MINUTE:
        return f"{whole} s" if seconds >= 1 or whole else "under 1 s"
    if whole < HOUR:
        return _two_units(whole, MINUTE, "min", 1, "s")
    if whole < DAY:
        return _two_units(whole, HOUR, "h", MINUTE, "min")
    return _two_units(whole, DAY, "days" if whole >= 2 * DAY else "day", HOUR, "h")


def about(seconds: float) -> str:
    """In one unit with at most two digits, because an estimate is no more precise."""
    for size, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 1.5 * size:
            amount = seconds / size
            return f"{amount:.0f} {name}" if amount >= 10 else f"{amount:.1f} {name}".replace(".0 ", " ")
    return f"{seconds:.0f} s"


def until(when: datetime) -> str:
    """How long until then, in one unit."""
    seconds = (when - datetime.now(UTC)).total_seconds()
    return "in less than a minute" if seconds < MINUTE else f"in about {about(seconds)}"


def milliseconds(value: float) -> str:
    """With two digits at least: `0.28`, `4.1`, `120`."""
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _two_units(seconds: int, large: int, larger: str, small: int, smaller: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large} {larger}" + (f" {rest} {smaller}" if rest else "")


FILTERS = {
    "code": code,
    "at_server": at_server,
    "file_name": file_name,
    "moment": moment,
    "ago": ago,
    "duration": duration,
    "about": about,
    "until": until,
    "milliseconds": milliseconds,
}
