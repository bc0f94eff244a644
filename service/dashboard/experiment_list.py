"""The list of experiments: newest first, filtered by status and text, in pages."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, load_only

from dermatriage_client.schemas import Status, WaitingRead
from models_store.contract.catalog import PRESETS
from models_store.tables import Experiment, Model, Trial
from service.dashboard.shell import PageRoute, Viewing, show
from service.dependencies import Reading, Services
from service.experiments.reading import places_of
from service.web.cursor_pages import page, turn

router = APIRouter(route_class=PageRoute)

PAGE_SIZE = 25
STATUSES: tuple[Status, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
PHASES = ("waiting", "screening", "fine-tuning", "final evaluation")


@dataclass(frozen=True)
class Row:
    """One experiment in the list. `recall` is that of the test set, otherwise the best on validation."""

    id: str
    name: str
    dataset: str
    status: str
    phase: str
    progress: float
    recall: float | None
    specificity: float | None
    is_tested: bool
    created_at: datetime
    waiting: WaitingRead | None

    @property
    def title(self) -> str:
        return self.name or self.id


@router.get("/")
def experiments_page(
    viewer: Viewing,
    session: Reading,
    services: Services,
    status: Annotated[Status | None, Query()] = None,
    text: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[str | None, Query(max_length=200)] = None,
    fragment: bool = False,
) -> Response:
    """With `fragment`, only the rows, which an open page loads to update itself."""
    found = page(
        session,
        _matching(status, text.strip()),
        turn(PAGE_SIZE, cursor),
        Experiment.created_at,
        Experiment.id,
        lambda rows: _rows(session, rows, services.settings.broker_url),
    )
    filters = {name: value for name, value in (("status", status), ("text", text.strip())) if value}
    return show(
        "experiment_rows.html" if fragment else "experiment_list.html",
        viewer,
        page="experiments",
        rows=found.items,
        status=status,
        text=text.strip(),
        statuses=STATUSES,
        presets=PRESETS,
        is_first=cursor is None,
        first_page=_address(filters),
        next_page=None if found.next_cursor is None else _address(filters | {"cursor": found.next_cursor}),
        by_status={name: _address({**filters, "status": name}) for name in STATUSES}
        | {None: _address({key: value for key, value in filters.items() if key != "status"})},
    )


def _address(query: dict[str, Any]) -> str:
    return f"/?{urlencode(query)}" if query else "/"


def _matching(status: str | None, text: str) -> Select[Any]:
    """Leaves out the results, which contain every point of every curve."""
    columns = (
        Experiment.name,
        Experiment.status,
        Experiment.phase,
        Experiment.progress,
        Experiment.created_at,
        Experiment.spec,
    )
    query = select(Experiment).where(Experiment.deleted_at.is_(None)).options(load_only(*columns))
    if status is not None:
        query = query.where(Experiment.status == status)
    for word in text.lower().split():
        dataset = Experiment.spec["dataset"].as_string()
        places = (func.lower(Experiment.name), Experiment.id, dataset)
        query = query.where(or_(*(place.contains(word, autoescape=True) for place in places)))
    return query


def _rows(session: Session, rows: Sequence[Experiment], broker_url: str) -> list[Row]:
    waiting = places_of(session, rows, broker_url)
    ids = [row.id for row in rows]
    known = {
        id: (dataset, recall, specificity)
        for id, dataset, recall, specificity in session.execute(
            select(
                Experiment.id,
                Experiment.spec["dataset"].as_string(),
                Model.metrics["recall"].as_float(),
                Model.metrics["specificity"].as_float(),
            )
            .outerjoin(Model, Model.experiment_id == Experiment.id)
            .where(Experiment.id.in_(ids))
        )
    }
    recall = Trial.metrics["val_recall"].as_float()
    of_trials = (
        select(Trial.experiment_id, func.max(recall))
        .where(Trial.experiment_id.in_(ids), Trial.status == "succeeded", Trial.kind == "train")
        .group_by(Trial.experiment_id)
    )
    best = {id: value for id, value in session.execute(of_trials)}
    return [_row(row, *known[row.id], best.get(row.id), waiting.get(row.id)) for row in rows]


def _row(
    row: Experiment,
    dataset: str | None,
    recall: float | None,
    specificity: float | None,
    best: float | None,
    waiting: WaitingRead | None,
) -> Row:
    return Row(
        id=row.id,
        name=row.name,
        dataset=dataset or "",
        status=row.status,
        phase=PHASES[row.phase],
        progress=row.progress,
        recall=best if recall is None else recall,
        specificity=specificity,
        is_tested=recall is not None,
        created_at=row.created_at,
        waiting=waiting,
    )
