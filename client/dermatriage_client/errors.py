"""The errors that the clients raise."""

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from dermatriage_client.problems import KIND_PREFIX, MEDIA_TYPE

EARLIER_PREFIX = "urn:dermatriage:problem:"  # of servers of version 0.1


class ServerUnreachable(RuntimeError):
    """No server answers at the address, or an answer broke off."""


class Refused(RuntimeError):
    """The server answered with a problem.

    `detail` is its finding, `remedy` what to do, `status` the HTTP status, `kind` a stable name for programs such as
    `experiment-not-found`, `errors` what validation found: a `detail` and a `pointer` or `parameter` each.
    """

    def __init__(
        self, status: int, detail: str, remedy: str, kind: str = "unknown", errors: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        super().__init__(f"{detail}\n{remedy}".strip())
        self.status, self.detail, self.remedy, self.kind, self.errors = status, detail, remedy, kind, tuple(errors)


class DownloadAltered(RuntimeError):
    """The download differs from what the server stores: a checksum does not match."""


def is_problem(response: httpx.Response) -> bool:
    """Whether the error comes from the service itself, and not from a proxy in front of it."""
    kind: str = response.headers.get("content-type", "")
    return kind.startswith(MEDIA_TYPE)


def refusal(response: httpx.Response) -> Refused:
    """The error in an answer whose content has been read."""
    if not is_problem(response):
        return not_dermatriage(response)
    problem = response.json()
    kind = problem.get("type", "").replace(EARLIER_PREFIX, KIND_PREFIX).removeprefix(KIND_PREFIX)
    detail = problem.get("detail", problem["title"])
    return Refused(response.status_code, detail, problem.get("remedy", ""), kind, problem.get("errors") or ())


def not_dermatriage(response: httpx.Response) -> Refused:
    where = f"{response.request.method} {response.request.url}"
    finding = f"{where} answered {response.status_code}, not as DermaTriage does"
    return Refused(response.status_code, finding, "Check the address of the server.", "not-dermatriage")
