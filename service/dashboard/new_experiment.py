"""The form for a new experiment, with its mistakes next to the fields and an estimate of the time it takes."""

import uuid
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import ValidationError
from sqlalchemy.orm import Session
from starlette.datastructures import FormData

from dermatriage_client.schemas import Estimate
from models_store import runs
from models_store.contract.catalog import PRESETS
from models_store.contract.specs import ExperimentSpec
from models_store.datasets.errors import DatasetUnknown
from models_store.datasets.evidence import TooLittleEvidence
from models_store.tables import Experiment
from service.access.gate import KeyName
from service.dashboard.form import Choice, Field, Group, all_fields, initial_values, mistakes, parsed, sections
from service.dashboard.shell import PageRoute, Posted, Viewer, Viewing, show
from service.datasets.endpoints import split_exclusively
from service.datasets.evidence import require_usable
from service.datasets.notices import notices
from service.datasets.reading import show_datasets
from service.dependencies import Reading, Services, Writing
from service.experiments.waiting import estimate_in_queue

router = APIRouter(route_class=PageRoute)
FRAGMENT = "x-fragment"


@router.get("/experiments/new")
def new_experiment_page(
    viewer: Viewing,
    session: Reading,
    preset: Annotated[str, Query(max_length=40)] = "laptop",
    again: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """`again` is the id of an experiment, whose settings fill the form in place of those of a preset."""
    fields, groups = sections(datasets(session))
    if again is not None:
        return _page_with_settings_of(viewer, session, fields, groups, again)
    chosen = preset if preset in PRESETS else "laptop"
    start = PRESETS[chosen]
    values = initial_values(start, all_fields(fields, groups))
    # The demonstration needs no download.
    values["dataset"] = "synthetic" if chosen == "demo" else ""
    return _page(viewer, session, fields, groups, values, preset=chosen)


def _page_with_settings_of(
    viewer: Viewer, session: Session, fields: Sequence[Field], groups: Sequence[Group], experiment_id: str
) -> Response:
    experiment = runs.find_experiment(session, experiment_id)
    spec = ExperimentSpec.model_validate(experiment.spec)
    values = initial_values(spec.model_dump(mode="json"), all_fields(fields, groups))
    if not _is_offered(spec.dataset, fields):
        values["dataset"] = ""
    return _page(viewer, session, fields, groups, values, again=experiment)


@router.post("/experiments")
def submit(viewer: Viewing, session: Writing, form: Posted, submitter: KeyName) -> Response:
    """Queues the experiment and opens its page, or shows the form again with a message next to each wrong field."""
    fields, groups = sections(datasets(session))
    given, values = parsed(form, all_fields(fields, groups))
    spec, wrong = _validated(session, given, fields, groups)
    if spec is None:
        return _page(viewer, session, fields, groups, values, wrong=wrong, status_code=422, key=_key(form))
    # A double click submits one experiment; a changed form from the same page submits another.
    key = f"form-{_key(form)}-{runs.digest_of(spec)[:16]}"
    experiment = runs.submit(session, spec, key=key, submitted_by=submitter)
    return RedirectResponse(f"/experiments/{experiment.id}", 303)


@router.post("/experiments/split")
def split_dataset(viewer: Viewing, services: Services, form: Posted) -> Response:
    """Makes the split whose button was pressed, and chooses it in the form, which keeps everything else."""
    name = str(form.get("split", ""))
    with services.database.read() as session:
        known = {choice.value for choice in datasets(session)}
    if name not in known:
        raise DatasetUnknown(f"there is no data set {name!r}", "Load the page again and choose one from the list")
    made, _ = split_exclusively(services, name, seed=0)
    with services.database.read() as session:
        fields, groups = sections(datasets(session))
        _, values = parsed(form, all_fields(fields, groups))
        return _page(viewer, session, fields, groups, {**values, "dataset": made.name}, key=_key(form))


@router.post("/experiments/estimate")
def read_estimate(viewer: Viewing, session: Reading, services: Services, form: Posted, request: Request) -> Response:
    """Only the estimate for the page's script, otherwise the whole form with the estimate."""
    fields, groups = sections(datasets(session))
    given, values = parsed(form, all_fields(fields, groups))
    spec, wrong = _validated(session, given, fields, groups)
    estimated = None if spec is None else estimate_in_queue(session, spec, services.settings.broker_url)
    if FRAGMENT in request.headers:
        return show(
            "estimate.html",
            viewer,
            page="new_experiment",
            estimated=estimated,
            wrong=wrong,
            queue=None if spec is None else spec.queue,
        )
    return _page(viewer, session, fields, groups, values, wrong=wrong, estimated=estimated, key=_key(form))


def datasets(session: Session) -> list[Choice]:
    """All data sets that an experiment can use, registered ones first."""
    found = sorted(show_datasets(session), key=lambda row: row.source != "registered")
    notes = {
        "official": "MedMNIST, downloaded on first use",
        "synthetic": "generated",
        "registered": "registered",
    }
    return [Choice(row.name, row.name, notes[row.source]) for row in found]


def _key(form: FormData) -> str:
    return str(form.get("key", ""))


def _validated(
    session: Session, given: dict[str, Any], fields: Sequence[Field], groups: Sequence[Group]
) -> tuple[ExperimentSpec | None, dict[str, str]]:
    try:
        spec = ExperimentSpec.model_validate(given)
    except ValidationError as error:
        return None, mistakes(error, all_fields(fields, groups))
    if not _is_offered(spec.dataset, fields):
        return None, {"dataset": f"there is no data set {spec.dataset!r}"}
    try:
        require_usable(session, spec)
    except TooLittleEvidence as missing:
        return None, {"": f"{missing}."}
    return spec, {}


def _is_offered(dataset: str, fields: Sequence[Field]) -> bool:
    return any(choice.value == dataset for field in fields if field.name == "dataset" for choice in field.choices)


def _page(
    viewer: Viewing,
    session: Session,
    fields: Sequence[Field],
    groups: Sequence[Group],
    values: dict[str, Any],
    *,
    wrong: dict[str, str] | None = None,
    estimated: Estimate | None = None,
    preset: str = "",
    again: Experiment | None = None,
    status_code: int = 200,
    key: str = "",
) -> Response:
    return show(
        "new_experiment.html",
        viewer,
        page="new_experiment",
        status_code=status_code,
        fields=fields,
        groups=groups,
        values=values,
        wrong=wrong or {},
        estimated=estimated,
        queue=values.get("queue"),
        presets=PRESETS,
        notices=notices(show_datasets(session)),
        preset=preset,
        again=again,
        key=key or uuid.uuid4().hex,
    )
