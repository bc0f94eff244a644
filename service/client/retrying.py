"""When a request that failed is sent again, and after how long: a rule that knows no network."""

import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from service.client.calls import Answer, Call
from service.client.errors import ServerUnreachable, is_problem, refusal

# Too many requests, and what a server or the proxy before it says while it restarts.
TEMPORARY = (429, 502, 503, 504)


@dataclass(frozen=True)
class Retries:
    """At most `most` new attempts; each waits twice as long as the one before, or as `Retry-After` asks.

    A server that asks for more than `longest_seconds` is not waited for. A stream that broke off is taken up again for
    `patience_seconds` after the last sign of the server, however many attempts that takes.
    """

    most: int = 4
    first_seconds: float = 0.25
    longest_seconds: float = 30.0
    patience_seconds: float = 300.0

    def pause(self, failures: int, asked: float | None = None) -> float | None:
        """Seconds before the next attempt after `failures` of them; None where there is none."""
        if asked is not None:
            return asked if asked <= self.longest_seconds else None
        # Half of it by chance, so that a thousand clients of one server do not come back in one moment.
        return min(self.first_seconds * 2.0 ** min(failures - 1, 16), self.longest_seconds) * random.uniform(0.5, 1.0)


NEVER = Retries(most=0, patience_seconds=0)


class Attempts:
    """Counts what failed since the server last did what it was asked."""

    def __init__(self, retries: Retries, url: str) -> None:
        self._retries = retries
        self._url = url
        self.succeeded()

    def succeeded(self) -> None:
        self._failures = 0
        self._since = time.monotonic()

    def heard(self, call: Call) -> None:
        """A byte came. It is a success of a stream alone: any other answer counts when it is whole."""
        if call.persistent:
            self.succeeded()

    def after_refusal(self, call: Call, answer: Answer) -> float:
        """Seconds to wait before the next attempt. Raises `Refused` where one would be useless or unsafe."""
        asked = retry_after_seconds(answer.headers)
        # A problem of the service itself that names no time, such as a missing champion, is the same in a second.
        passing = answer.status in TEMPORARY and (asked is not None or not is_problem(answer.headers))
        pause = self._next(call, asked) if passing and call.repeatable else None
        if pause is None:
            raise refusal(answer.status, answer.headers, answer.content, f"{call.method} {self._url}{call.path}")
        return pause

    def after_error(self, call: Call, error: httpx.TransportError) -> float:
        """Seconds to wait before the next attempt. Raises `ServerUnreachable` where there is none."""
        if isinstance(error, httpx.UnsupportedProtocol):
            raise ServerUnreachable(f"{self._url} is not the address of a server ({error})") from error
        pause = self._next(call, None) if call.repeatable else None
        if pause is None:
            why = str(error) or type(error).__name__
            raise ServerUnreachable(f"no DermaTriage server answers at {self._url} ({why})") from error
        return pause

    def _next(self, call: Call, asked: float | None) -> float | None:
        self._failures += 1
        if call.persistent:
            waited = time.monotonic() - self._since
            return self._retries.pause(self._failures, asked) if waited < self._retries.patience_seconds else None
        return self._retries.pause(self._failures, asked) if self._failures <= self._retries.most else None


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3) as seconds from now, whichever of its two forms it has; None without one."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
