"""When a failed request is sent again, and after how long. stamina waits and counts."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from dermatriage_client.errors import is_problem

# Too many requests, and the answers while a server, or the proxy in front of it, restarts.
TEMPORARY = (429, 502, 503, 504)
BROKEN = (httpx.TimeoutException, httpx.NetworkError, httpx.RemoteProtocolError)


@dataclass(frozen=True)
class Retries:
    """At most `most` new attempts, each after twice the wait of the one before, or after `Retry-After`.

    A request whose `Retry-After` exceeds `longest_seconds` fails at once. A stream of events that broke off is
    requested again until nothing has answered for `patience_seconds`, in any number of attempts.
    """

    most: int = 4
    first_seconds: float = 0.25
    longest_seconds: float = 30.0
    patience_seconds: float = 300.0

    def bounds(self, *, repeatable: bool, persistent: bool) -> dict[str, Any]:
        """How often stamina sends a request, and how long it waits in between."""
        # The jitter spreads the retries of many clients of one server.
        waits = {
            "wait_initial": self.first_seconds,
            "wait_max": self.longest_seconds,
            "wait_jitter": self.first_seconds,
        }
        if persistent:
            return {**waits, "attempts": None, "timeout": self.patience_seconds}
        return {**waits, "attempts": self.most + 1 if repeatable else 1, "timeout": None}

    def pause(self, error: Exception) -> bool | float:
        """Whether to send a request again after this error of httpx; a number is the seconds to wait."""
        if not isinstance(error, httpx.HTTPStatusError):
            return isinstance(error, BROKEN)
        wait = retry_after_seconds(error.response)
        if error.response.status_code not in TEMPORARY:
            return False
        if wait is None:
            # A problem of the service without Retry-After, such as a missing champion, does not pass within seconds.
            return not is_problem(error.response)
        return wait if wait <= self.longest_seconds else False


def retry_after_seconds(response: httpx.Response) -> float | None:
    """`Retry-After` (RFC 9110, 10.2.3) as seconds from now, whichever of its two forms it has; None without one."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
