"""Every error as problem+json (RFC 9457): what happened, why, and what to do about it. Never a stack trace."""

import errno
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from dermatriage_client.problems import KIND_PREFIX, MEDIA_TYPE, Finding, ProblemDocument
from models_store.contract.suggestions import suggestion
from models_store.datasets.errors import DatasetError, DatasetInvalid, DatasetNameRefused, DatasetUnknown
from models_store.datasets.splitting import LesionsUnknown
from models_store.monitoring.outcomes import OutcomeDiffers, PredictionNotFound
from models_store.runs import ExperimentNotFound, ExperimentUnfinished, IdempotencyKeyReused, NotRetryable
from models_store.store.registry import ModelIsChampion, ModelNotFound, NothingToRollBackTo, RevisionChanged
from service.problem_kinds import BY_STATUS, KINDS
from service.web.scope_marks import ERROR

log = logging.getLogger(__name__)
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
CLIENT_CLOSED_REQUEST = 499  # nginx's status for a client that closed the connection before the answer


class Problem(Exception):
    """An error response. Its `kind` is a key of `KINDS`, which supplies a detail or remedy that is not given."""

    def __init__(
        self,
        kind: str,
        detail: str | None = None,
        remedy: str | None = None,
        *,
        errors: Sequence[Finding] = (),
        checks: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        known = KINDS[kind]
        self.status, self.kind, self.title = known.status, kind, known.title
        self.detail, self.remedy = detail or known.meaning, remedy or known.remedy
        super().__init__(self.detail)
        self.errors, self.checks, self.headers = list(errors), checks, dict(headers or {})

    def response(self, request: Request) -> Response:
        if (format_error := request.scope.get(ERROR)) is not None:
            return self._json_response(format_error(self), "application/json")
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
        return self._json_response(document.model_dump(exclude_none=True), MEDIA_TYPE)

    def _json_response(self, document: Mapping[str, Any], media_type: str) -> Response:
        # ASCII only: a detail may quote the request, and a lone surrogate cannot be encoded as UTF-8.
        body = json.dumps(document).encode()
        return Response(body, self.status, {**SECURITY_HEADERS, **self.headers}, media_type=media_type)


# Errors of the models store whose message serves as the detail.
STORE_ERRORS: dict[type[Exception], str] = {
    ExperimentNotFound: "experiment-not-found",
    ExperimentUnfinished: "experiment-unfinished",
    IdempotencyKeyReused: "idempotency-key-reused",
    ModelIsChampion: "model-is-champion",
    ModelNotFound: "model-not-found",
    NotRetryable: "not-retryable",
    NothingToRollBackTo: "nothing-to-roll-back-to",
    OutcomeDiffers: "outcome-differs",
    PredictionNotFound: "prediction-not-found",
    RevisionChanged: "revision-changed",
}

# Errors of a data set, which have their own remedy; subclasses come before their parents.
DATASET_ERRORS: dict[type[DatasetError], str] = {
    LesionsUnknown: "lesions-unknown",
    DatasetInvalid: "dataset-invalid",
    DatasetUnknown: "dataset-not-found",
    DatasetNameRefused: "dataset-name-refused",
    DatasetError: "dataset-unavailable",
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
    for kind in STORE_ERRORS:
        app.add_exception_handler(kind, _store_error)


def unprocessable(detail: str, remedy: str, finding: Finding) -> Problem:
    return Problem("invalid-request", detail, remedy, errors=[finding])


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return error.response(request)


def _store_error(request: Request, error: Exception) -> Response:
    return Problem(STORE_ERRORS[type(error)], str(error)).response(request)


def _dataset_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, DatasetError)
    kind = next(kind for of, kind in DATASET_ERRORS.items() if isinstance(error, of))
    return Problem(kind, error.finding, f"{error.remedy}.").response(request)


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    findings = [_finding(request, found) for found in error.errors()]
    summary = "; ".join(f"{found.pointer or found.parameter or 'body'}: {found.detail}" for found in findings)
    return Problem("invalid-request", summary, errors=findings).response(request)


def _finding(request: Request, error: Mapping[str, Any]) -> Finding:
    where, *path = error["loc"]
    detail = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "json_invalid":
        return Finding(detail=f"not JSON, at character {path[0]}: {error['ctx']['error']}", pointer="")
    if error["type"] == "extra_forbidden":
        detail = f"there is no such field; {suggestion(path[-1], _fields_at(request, path[:-1]))}"
    if where == "body":
        escaped = (str(part).replace("~", "~0").replace("/", "~1") for part in path)
        return Finding(detail=detail, pointer="".join(f"/{part}" for part in escaped))
    return Finding(detail=detail, parameter=str(path[0]))


def _fields_at(request: Request, path: Sequence[str]) -> Iterable[str]:
    """The names of the fields that the object at this place of the body may have."""
    model = request.scope["route"].body_field.field_info.annotation
    for name in path:
        model = model.model_fields[name].annotation
    return cast(type[BaseModel], model).model_fields


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, OSError):  # FastAPI turns any failure to read a body into status 400
        return _system_failed(request, error.__cause__)
    has_detail = error.detail != HTTPStatus(error.status_code).phrase
    detail = error.detail if has_detail else f"{request.method} {request.url.path} is not served"
    return Problem(BY_STATUS[error.status_code], detail, headers=error.headers).response(request)


def is_outage(error: SQLAlchemyError) -> bool:
    """Whether the database is unreachable or too busy; otherwise the statement is wrong."""
    if isinstance(error, OperationalError | InterfaceError | PoolExhausted):
        return True
    return isinstance(error, DBAPIError) and error.connection_invalidated


def _database_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, SQLAlchemyError)
    if not is_outage(error):
        log.error("the database refused a statement of %s %s", request.method, request.url.path, exc_info=error)
        return _unexpected(request, error)
    log.error("the database did not answer %s %s: %s", request.method, request.url.path, error)
    return Problem("database-unreachable", headers={"Retry-After": "5"}).response(request)


def _system_failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    log.error("the operating system refused a call of %s %s", request.method, request.url.path, exc_info=error)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return _unexpected(request, error)
    return Problem("disk-full", headers={"Retry-After": "60"}).response(request)


def _client_gone(request: Request, error: Exception) -> Response:  # noqa: ARG001 (nobody reads it)
    return Response(status_code=CLIENT_CLOSED_REQUEST)


def _unexpected(request: Request, error: Exception) -> Response:  # noqa: ARG001 (the server logs it)
    return Problem("internal-error").response(request)
