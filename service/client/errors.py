"""What can go wrong between a program and the service."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

PROBLEM = "application/problem+json"
KIND_PREFIX = "urn:dermatriage:problem:"


class ServerUnreachable(RuntimeError):
    """Nothing answers at the address, or an answer broke off."""


class Refused(RuntimeError):
    """The server answered with a problem.

    `detail` is its finding, `remedy` what to do, `status` the HTTP status, `kind` a stable name for programs such as
    `experiment-not-found`, `errors` what validation found: a `detail` and a `pointer` or `parameter` each.
    """

    def __init__(
        self, status: int, detail: str, remedy: str, kind: str = "unknown", errors: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        super().__init__(f"{detail}\n{remedy}".strip())
        self.status = status
        self.detail = detail
        self.remedy = remedy
        self.kind = kind
        self.errors = tuple(errors)


class DownloadAltered(RuntimeError):
    """What arrived is not what the server keeps: a checksum differs."""


def is_problem(headers: Mapping[str, str]) -> bool:
    return headers.get("content-type", "").startswith(PROBLEM)


def refusal(status: int, headers: Mapping[str, str], content: bytes, where: str) -> Refused:
    """The error that an answer is; `where` names the request, for an answer that is not of this service."""
    if not is_problem(headers):
        return not_ours(status, where)
    problem = json.loads(content)
    kind = problem.get("type", "").removeprefix(KIND_PREFIX)
    detail = problem.get("detail", problem["title"])
    return Refused(status, detail, problem.get("remedy", ""), kind, problem.get("errors") or ())


def not_ours(status: int, where: str) -> Refused:
    return Refused(
        status,
        f"{where} answered {status}, not as DermaTriage does",
        "Check the address given by --url or DERMATRIAGE_URL.",
        "not-dermatriage",
    )
