"""Every error as problem+json (RFC 9457): what happened, why, and what to do about it. Never a stack trace."""

import errno
import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dermatriage_client.problems import KIND_PREFIX, MEDIA_TYPE, Finding, ProblemDocument
from models_store.datasets.errors import DatasetError, DatasetInvalid, DatasetNameRefused, DatasetUnknown
from models_store.datasets.splitting import LesionsUnknown
from models_store.runs import ExperimentNotFound, IdempotencyKeyReused
from models_store.store.registry import ModelNotFound, NothingToRollBackTo, RevisionChanged

log = logging.getLogger(__name__)
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
CLIENT_CLOSED_REQUEST = 499  # nginx's status for an answer that nobody waits for


class Problem(Exception):
    """An answer that is an error; `kind` is stable, for programs, and the rest is for people."""

    def __init__(
        self,
        status: int,
        kind: str,
        title: str,
        detail: str,
        remedy: str,
        *,
        errors: Sequence[Finding] = (),
        checks: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.title, self.detail, self.remedy = status, kind, title, detail, remedy
        self.errors, self.checks, self.headers = list(errors), checks, dict(headers or {})

    def response(self, request: Request) -> Response:
        document = ProblemDocument(
            type=KIND_PREFIX + self.kind,
            title=self.title,
            status=self.status,
            detail=self.detail,
            remedy=self.remedy,
            instance=request.url.path,
            errors=self.errors or None,
            checks=None if self.checks is None else dict(self.checks),
        )
        # ASCII only: a detail may quote what was sent, and a lone surrogate has no UTF-8.
        body = json.dumps(document.model_dump(exclude_none=True)).encode()
        return Response(body, self.status, {**SECURITY_HEADERS, **self.headers}, media_type=MEDIA_TYPE)


# Errors of the models store whose message already says what happened: status, title, remedy.
KNOWN: dict[type[Exception], tuple[int, str, str, str]] = {
    ExperimentNotFound: (
        404,
        "experiment-not-found",
        "There is no such experiment",
        "GET /v1/experiments lists those there are.",
    ),
    IdempotencyKeyReused: (
        422,
        "idempotency-key-reused",
        "The Idempotency-Key belongs to another experiment",
        "Send a new key with a new experiment, or the same experiment with the same key.",
    ),
    ModelNotFound: (404, "model-not-found", "There is no such model", "GET /v1/models lists those there are."),
    NothingToRollBackTo: (
        409,
        "nothing-to-roll-back-to",
        "The champion has no predecessor",
        "POST /v1/models/{version}/promote makes any other version the champion.",
    ),
    RevisionChanged: (
        412,
        "revision-changed",
        "The champion changed in the meantime",
        "GET /v1/models/{version} gives the current ETag; send it as If-Match if the change is still wanted.",
    ),
}

# Errors of a data set, which bring their own remedy; the most special kind first.
DATASET_ERRORS: dict[type[DatasetError], tuple[int, str, str]] = {
    LesionsUnknown: (422, "lesions-unknown", "The data set has no lesion ids"),
    DatasetInvalid: (422, "dataset-invalid", "The data set cannot be used"),
    DatasetUnknown: (404, "dataset-not-found", "There is no such data set"),
    DatasetNameRefused: (409, "dataset-name-refused", "The name is taken"),
    DatasetError: (503, "dataset-unavailable", "The data set cannot be read now"),
}

HTTP_REMEDIES = {
    400: "Check that the body is what its Content-Type says.",
    404: "GET /docs lists every address.",
    405: "The Allow header and GET /docs list the methods of this address.",
    408: "Send it faster, or in parts.",
    413: "Send less, or in several requests: of one image, a JPEG at quality 90 and 2,000 pixels wide is ample.",
}


def add_handlers(app: FastAPI) -> None:
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(SQLAlchemyError, _database_failed)
    app.add_exception_handler(DatasetError, _dataset_failed)
    app.add_exception_handler(OSError, _system_failed)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_exception_handler(Exception, _unexpected)
    for kind in KNOWN:
        app.add_exception_handler(kind, _known)


def unprocessable(detail: str, remedy: str, finding: Finding) -> Problem:
    return Problem(422, "invalid-request", "The request cannot be processed", detail, remedy, errors=[finding])


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response(request)


def _known(request: Request, error: Exception) -> Response:
    status, kind, title, remedy = KNOWN[type(error)]
    return Problem(status, kind, title, str(error), remedy).response(request)


def _dataset_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatasetError)
    status, kind, title = next(said for of, said in DATASET_ERRORS.items() if isinstance(error, of))
    return Problem(status, kind, title, error.finding, f"{error.remedy}.").response(request)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    findings = [_finding(found) for found in error.errors()]
    summary = "; ".join(f"{found.pointer or found.parameter or 'body'}: {found.detail}" for found in findings)
    remedy = "Correct what `errors` lists; GET /docs shows every field, and GET /v1/catalog every name."
    title = "The request is not valid"
    return Problem(422, "invalid-request", title, summary, remedy, errors=findings).response(request)


def _finding(error: Mapping[str, Any]) -> Finding:
    where, *path = error["loc"]
    detail = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "json_invalid":
        return Finding(detail=f"not JSON, at character {path[0]}: {error['ctx']['error']}", pointer="")
    if where == "body":
        escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
        return Finding(detail=detail, pointer="".join(f"/{part}" for part in escaped))
    return Finding(detail=detail, parameter=str(path[0]))


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, OSError):  # FastAPI takes whatever stops it reading a body for the sender's fault
        return _system_failed(request, error.__cause__)
    phrase = HTTPStatus(error.status_code).phrase
    kind = phrase.lower().replace(" ", "-")
    detail = error.detail if error.detail != phrase else f"{request.method} {request.url.path}: {phrase.lower()}"
    remedy = HTTP_REMEDIES.get(error.status_code, "GET /docs describes every request.")
    return Problem(error.status_code, kind, phrase, detail, remedy, headers=error.headers).response(request)


def is_outage(error: SQLAlchemyError) -> bool:
    """Whether the database is away or too busy, rather than asked for something wrong."""
    if isinstance(error, OperationalError | InterfaceError | PoolExhausted):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _database_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, SQLAlchemyError)
    if not is_outage(error):
        log.error("the database refused what %s %s asked for", request.method, request.url.path, exc_info=error)
        return _unexpected(request, error)
    log.error("the database did not answer %s %s: %s", request.method, request.url.path, error)
    return Problem(
        503,
        "database-unreachable",
        "The database does not answer",
        "the database could not be reached, or was busy for too long",
        "Try again in a few seconds; GET /readyz says when it is back.",
        headers={"Retry-After": "5"},
    ).response(request)


def _system_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    log.error("the system refused what %s %s needs", request.method, request.url.path, exc_info=error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return _unexpected(request, error)
    return Problem(
        507,
        "disk-full",
        "The server's disk is full",
        "there is no room on the server for what this request needs",
        "Try again later; whoever runs the server has to free space, see its log.",
        headers={"Retry-After": "60"},
    ).response(request)


def _client_gone(request: Request, error: Exception) -> Response:  # noqa: ARG001 (nobody reads it)
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def _unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001 (the server logs it)
    return Problem(
        500,
        "internal-error",
        "Something unexpected happened",
        "the server failed to answer this request; the cause is in its log",
        "Try again; if it fails again, report it with the time of the request and the server's log.",
    ).response(request)
