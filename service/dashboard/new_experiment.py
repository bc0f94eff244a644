"""Ask for a new study: the form, what is wrong with it beside each field, and what the study may cost in time."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy.orm import Session

from models_store import runs
from models_store.contract.catalog import PRESETS
from models_store.contract.specs import ExperimentSpec
from service.dashboard.estimate import Estimate, estimate
from service.dashboard.form import Choice, every, fields_of, findings, sent, values_of
from service.dashboard.shell import PageRoute, Posted, Viewing, show
from service.dependencies import Reading, Service, Services, Writing
from service.experiments.catalog import read_catalog
from service.system.worker_status import heard_workers

router = APIRouter(route_class=PageRoute)
FRAGMENT = "x-fragment"


@router.get("/studies/new")
def new_study_page(
    viewer: Viewing, session: Reading, preset: Annotated[str, Query(max_length=40)] = "laptop"
) -> Response:
    fields, groups = fields_of(datasets(session))
    chosen = preset if preset in PRESETS else "laptop"
    start = PRESETS[chosen]
    values = values_of(start, every(fields, groups))
    # The first of the list may have to be downloaded; the demonstration is sure to run.
    values["dataset"] = "synthetic" if chosen == "demo" else ""
    return _page(viewer, fields, groups, values, preset=chosen)


@router.post("/studies")
def submit(viewer: Viewing, session: Writing, form: Posted) -> Response:
    """Queues the study and leads to its page; or shows the form again, with what is wrong beside each field."""
    fields, groups = fields_of(datasets(session))
    given, values = sent(form, every(fields, groups))
    spec, wrong = _checked(given, fields, groups)
    if spec is None:
        return _page(viewer, fields, groups, values, wrong=wrong, status_code=422, key=str(form.get("key", "")))
    # A form sent twice by a double click is one study; a form changed and sent again from the same page is another.
    experiment = runs.submit(session, spec, key=f"form-{form.get('key', '')}-{runs.digest_of(spec)[:16]}")
    return RedirectResponse(f"/studies/{experiment.id}", 303)


@router.post("/studies/estimate")
def read_estimate(viewer: Viewing, session: Reading, services: Services, form: Posted, request: Request) -> Response:
    """The estimate alone for the page's script; without it, the whole form again with the estimate."""
    fields, groups = fields_of(datasets(session))
    given, values = sent(form, every(fields, groups))
    spec, wrong = _checked(given, fields, groups)
    guess = None if spec is None else _estimate(session, services, spec)
    if FRAGMENT in request.headers:
        return show("estimate.html", viewer, page="new_study", guess=guess, queue=None if spec is None else spec.queue)
    return _page(viewer, fields, groups, values, wrong=wrong, guess=guess, key=str(form.get("key", "")))


def datasets(session: Session) -> list[Choice]:
    """Every data set that a study may name, registered ones first."""
    found = sorted(read_catalog(session).datasets, key=lambda row: row.source != "registered")
    notes = {
        "official": "MedMNIST, fetched on first use",
        "synthetic": "drawn by a program",
        "registered": "registered",
    }
    return [Choice(row.name, row.name, notes[row.source]) for row in found]


def _checked(given: dict[str, Any], fields: Sequence[Any], groups: Sequence[Any]) -> tuple[Any, dict[str, str]]:
    known = {choice.value for field in fields if field.name == "dataset" for choice in field.choices}
    try:
        spec = ExperimentSpec.model_validate(given)
    except ValidationError as error:
        return None, findings(error, every(fields, groups))
    if spec.dataset not in known:
        return None, {"dataset": f"no data set is called {spec.dataset!r}"}
    return spec, {}


def _estimate(session: Session, services: Service, spec: ExperimentSpec) -> Estimate:
    heard = heard_workers(services.settings.broker_url) or []
    return estimate(session, spec, sum(worker.slots for worker, _ in heard if spec.queue in worker.queues))


def _page(
    viewer: Any,
    fields: Any,
    groups: Any,
    values: dict[str, Any],
    *,
    wrong: dict[str, str] | None = None,
    guess: Estimate | None = None,
    preset: str = "",
    status_code: int = 200,
    key: str = "",
) -> Response:
    return show(
        "new_study.html",
        viewer,
        page="new_study",
        status_code=status_code,
        fields=fields,
        groups=groups,
        values=values,
        wrong=wrong or {},
        guess=guess,
        queue=values.get("queue"),
        presets=PRESETS,
        preset=preset,
        key=key or uuid.uuid4().hex,
    )
