"""Times and states in words."""

import re
from datetime import UTC, datetime

from markupsafe import Markup, escape

MINUTE, HOUR, DAY = 60, 3600, 86400


def code(text: str) -> Markup:
    """What stands between backticks, as the contract's descriptions have it, set as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def moment(when: datetime | None) -> str:
    return "not yet" if when is None else when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def ago(when: datetime | None) -> str:
    """How long ago, roughly; beyond a month the date itself."""
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


def about(seconds: float) -> str:
    """One unit, to two digits: an estimate is no better."""
    for size, name in ((DAY, "days"), (HOUR, "h"), (MINUTE, "min")):
        if seconds >= 1.5 * size:
            amount = seconds / size
            return f"{amount:.0f} {name}" if amount >= 10 else f"{amount:.1f} {name}".replace(".0 ", " ")
    return f"{seconds:.0f} s"


def _two(seconds: int, large: int, larger: str, small: int, smaller: str) -> str:
    rest = seconds % large // small
    return f"{seconds // large} {larger}" + (f" {rest} {smaller}" if rest else "")


REMEDIES = {
    "TimeLimitExceeded": "Submit it again with a higher limit, fewer epochs or fewer networks.",
    "TrialCrashed": "Its log says what it did last; where memory ran out, give the worker fewer slots.",
    "WorkerLost": "See whether the worker still runs and reaches the database, then submit the study again.",
    "collapsed": "No network told benign lesions well enough: train for longer, weigh classes less (W0), lower the "
    "floor of specificity, or rank by specificity_at_recall.",
    "NoTrialSucceeded": "Each trial below says why it came to nothing.",
    "WeightsUnavailable": "Put the ImageNet weights where WEIGHTS_ROOT points, or choose weights none.",
    "DatasetUnavailable": "Put the file where DATA_ROOT points, or register it under a name of its own.",
    "ChecksumMismatch": "The file is not the one that was named: fetch it again, or register it under another name.",
}


def remedy(kind: str) -> str:
    """What to do about a study that failed for a reason of this kind."""
    return REMEDIES.get(kind, "The log of the trial that failed, linked in the table below, says more.")
