"""Submit, watch, cancel, retry and delete experiments; read their trials."""

import hashlib
from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Body, Header, Query, Request, Response
from fastapi.openapi.models import Example
from fastapi.responses import HTMLResponse, PlainTextResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from dermatriage_client.problems import Finding
from dermatriage_client.schemas import (
    Estimate,
    ExperimentComparison,
    ExperimentRead,
    Page,
    Status,
    TrialList,
    TrialRead,
)
from models_store import runs
from models_store.contract.catalog import PRESETS
from models_store.contract.specs import ExperimentSpec
from models_store.contract.suggestions import suggestion
from models_store.datasets.evidence import ClassMissing, HoldOutImpossible, TooFewMalignantImages, TooLittleEvidence
from models_store.datasets.sources import BUILTIN_NAMES, is_builtin
from models_store.tables import DatasetRow, Experiment, Trial, TrialLog
from service.access.gate import KEY_ID, Caller, KeyName
from service.datasets.evidence import require_usable
from service.dependencies import Identifier, IdPrefix, Reading, Services, Writing
from service.errors import Problem, unprocessable
from service.experiments import events
from service.experiments.comparing import compare_experiments
from service.experiments.reading import places_of, show_experiment, show_experiments, show_trials
from service.experiments.waiting import estimate_in_queue
from service.report import REPORT_POLICY, report_page
from service.web.api_docs import problems
from service.web.cursor_pages import RequestedPage, page

router = APIRouter(tags=["experiments"])
router.include_router(events.router)

EXAMPLES: dict[str, Example] = {
    name: {"summary": f"preset {name}", "value": {"dataset": "dermamnist", **preset}}
    for name, preset in PRESETS.items()
}

POINTERS: dict[type[TooLittleEvidence], str] = {
    ClassMissing: "/dataset",
    HoldOutImpossible: "/calibration/share",
    TooFewMalignantImages: "/calibration/target_recall",
}


@router.post(
    "/v1/experiments",
    status_code=202,
    responses=problems("content-too-large", "invalid-request", "too-little-evidence", "idempotency-key-reused"),
)
def submit_experiment(
    spec: Annotated[ExperimentSpec, Body(openapi_examples=EXAMPLES)],
    session: Writing,
    request: Request,
    response: Response,
    submitter: KeyName,
    idempotency_key: Annotated[
        str | None,
        Header(
            pattern=r"^[\x21-\x7e]{1,255}$",
            description="Any string of your choice: the same key with the same experiment, from "
            "the same caller, never submits it twice.",
        ),
    ] = None,
) -> ExperimentRead:
    """Queues an experiment in three phases. `Location` is where to follow it."""
    _require_dataset(session, spec)
    experiment = runs.submit(session, spec, key=_key_of_caller(idempotency_key, request), submitted_by=submitter)
    response.headers["Location"] = request.url_for("read_experiment", experiment_id=experiment.id).path
    return show_experiment(session, experiment)


@router.post(
    "/v1/experiments/estimate", responses=problems("content-too-large", "invalid-request", "too-little-evidence")
)
def read_estimate(
    spec: Annotated[ExperimentSpec, Body(openapi_examples=EXAMPLES)], session: Reading, services: Services
) -> Estimate:
    """How long the experiment would take on the available workers, and what its answers would cost. Submits nothing."""
    _require_dataset(session, spec)
    return estimate_in_queue(session, spec, services.settings.broker_url)


@router.get("/v1/experiments", responses=problems("invalid-request"))
def list_experiments(
    session: Reading,
    services: Services,
    page_request: RequestedPage,
    status: Annotated[Status | None, Query(description="Only experiments in this state.")] = None,
    prefix: IdPrefix = "",
) -> Page[ExperimentRead]:
    """Newest first."""
    query = select(Experiment).where(Experiment.deleted_at.is_(None))
    if prefix:
        query = query.where(Experiment.id.startswith(prefix, autoescape=True))
    if status is not None:
        query = query.where(Experiment.status == status)

    def shown(rows: Sequence[Experiment]) -> list[ExperimentRead]:
        return show_experiments(session, rows, places_of(session, rows, services.settings.broker_url))

    return page(session, query, page_request, Experiment.created_at, Experiment.id, shown)


@router.get("/v1/experiments/compare", responses=problems("experiment-not-found", "invalid-request"))
def compare_several_experiments(
    session: Reading,
    ids: Annotated[
        list[str], Query(alias="id", min_length=2, max_length=20, description="Id of an experiment; give 2 to 20.")
    ],
) -> ExperimentComparison:
    """Experiments side by side: settings that differ, trials, results, and the spread over seeds."""
    return compare_experiments(session, ids)


@router.get("/v1/experiments/{experiment_id}", responses=problems("experiment-not-found", "invalid-request"))
def read_experiment(experiment_id: Identifier, session: Reading, services: Services) -> ExperimentRead:
    row = runs.find_experiment(session, experiment_id)
    return show_experiment(session, row, places_of(session, [row], services.settings.broker_url))


@router.post(
    "/v1/experiments/{experiment_id}/cancel",
    responses=problems("experiment-not-found", "experiment-finished", "invalid-request"),
)
def cancel_experiment(experiment_id: Identifier, session: Writing) -> ExperimentRead:
    """Cancels queued trials at once and stops running ones; repeating the request changes nothing.

    An experiment that has succeeded or failed can no longer be cancelled.
    """
    experiment = runs.cancel(session, experiment_id)
    if experiment.status in ("succeeded", "failed"):
        finished = f"experiment {experiment_id} has {experiment.status}; there is nothing left to cancel"
        raise Problem("experiment-finished", finished)
    return show_experiment(session, experiment)


@router.post(
    "/v1/experiments/{experiment_id}/retry",
    status_code=202,
    responses=problems("experiment-not-found", "not-retryable", "invalid-request"),
)
def retry_experiment(experiment_id: Identifier, session: Writing) -> ExperimentRead:
    """Queues the failed trials of a failed experiment again; what is finished is kept, and limits count from now."""
    return show_experiment(session, runs.retry(session, experiment_id))


@router.delete(
    "/v1/experiments/{experiment_id}",
    status_code=204,
    responses=problems("experiment-not-found", "experiment-unfinished", "model-is-champion", "invalid-request"),
)
def delete_experiment(experiment_id: Identifier, session: Writing, caller: Caller) -> None:
    """Deletes an ended experiment with its model and their files; repeating the request changes nothing.

    The record stays: whether its test set was opened, when its model was champion and what it predicted.
    """
    runs.delete_experiment(session, experiment_id, caller)


@router.get("/v1/experiments/{experiment_id}/trials", responses=problems("experiment-not-found", "invalid-request"))
def list_experiment_trials(
    experiment_id: Identifier,
    session: Reading,
    epochs: Annotated[bool, Query(description="Whether to include the metrics of every epoch.")] = False,
) -> TrialList:
    """Every trial of the experiment, in the order of its phases."""
    runs.find_experiment(session, experiment_id)
    chosen = select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.phase, Trial.position)
    return TrialList(items=show_trials(session, session.scalars(chosen).all(), epochs=epochs))


@router.get(
    "/v1/experiments/{experiment_id}/report",
    response_class=HTMLResponse,
    responses={
        200: {"content": {"text/html": {"example": '<!doctype html>\n<html lang="en">…'}}},
        **problems("experiment-not-found", "invalid-request"),
    },
)
def read_experiment_report(experiment_id: Identifier, session: Reading, services: Services) -> Response:
    """One self-contained HTML file to read, print and share, for an experiment in any state."""
    page = report_page(session, services.storage, services.settings.cache_root, experiment_id)
    return HTMLResponse(page, headers={"Content-Security-Policy": f"{REPORT_POLICY}; frame-ancestors 'none'"})


@router.get("/v1/trials/{trial_id}", responses=problems("trial-not-found", "invalid-request"))
def read_trial(trial_id: Identifier, session: Reading) -> TrialRead:
    """One trial with the metrics of every epoch."""
    return show_trials(session, [_trial(session, trial_id)], epochs=True)[0]


@router.get(
    "/v1/trials/{trial_id}/log",
    response_class=PlainTextResponse,
    responses={
        200: {"content": {"text/plain": {"example": "Epoch 1/30 …\n"}}},
        **problems("trial-not-found", "log-not-found", "invalid-request"),
    },
)
def read_trial_log(trial_id: Identifier, session: Reading) -> PlainTextResponse:
    """The last 64 KiB of output of the trial's attempts on the machine that ran the latest one.

    While it runs, this is at most a quarter of a lease old.
    """
    _trial(session, trial_id)
    log = session.get(TrialLog, trial_id)
    if log is None:
        raise Problem("log-not-found", f"trial {trial_id} has an empty log so far")
    return PlainTextResponse(log.text if log.is_whole else f"[…]\n{log.text}")


def _key_of_caller(key: str | None, request: Request) -> str | None:
    """The key as stored, separate for each caller. Without API keys everyone is the same caller."""
    caller = request.scope.get(KEY_ID)
    return key if key is None or caller is None else f"{caller}:{hashlib.sha256(key.encode()).hexdigest()}"


def _trial(session: Session, trial_id: str) -> Trial:
    """Raises `ExperimentNotFound` if its experiment was deleted."""
    trial = session.get(Trial, trial_id)
    if trial is None:
        raise Problem("trial-not-found", f"there is no trial {trial_id}")
    runs.find_experiment(session, trial.experiment_id)
    return trial


def _require_dataset(session: Session, spec: ExperimentSpec) -> None:
    """Raises `Problem` if there is no such data set, or if the experiment is certain to fail on it."""
    name = spec.dataset
    if is_builtin(name) or session.get(DatasetRow, name) is not None:
        return _require_evidence(session, spec)
    known = (*BUILTIN_NAMES, *session.scalars(select(DatasetRow.name).order_by(DatasetRow.name)))
    missing = f"no data set is called {name!r}; {suggestion(name, known)}"
    raise unprocessable(
        missing,
        f"Register it on this server with POST /v1/datasets or `dermatriage dataset register PATH --name {name} --url "
        "URL`, or choose one from GET /v1/catalog.",
        Finding(detail=missing, pointer="/dataset"),
    )


def _require_evidence(session: Session, spec: ExperimentSpec) -> None:
    try:
        require_usable(session, spec)
    except TooLittleEvidence as missing:
        finding = Finding(detail=missing.finding, pointer=POINTERS[type(missing)])
        raise Problem("too-little-evidence", missing.finding, f"{missing.remedy}.", errors=[finding]) from missing
