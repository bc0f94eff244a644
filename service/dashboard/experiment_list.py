"""The list of experiments, newest first, filtered by status and text, in pages; and several of them side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Response
from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session, load_only

from dermatriage_client.problems import Finding
from dermatriage_client.schemas import Status, WaitingRead
from models_store import wording
from models_store.contract.catalog import PRESETS
from models_store.experiment.ranking import Ranking
from models_store.tables import Experiment, Model, Trial
from service.dashboard.shell import PageRoute, Viewing, show
from service.dependencies import Reading, Services
from service.errors import unprocessable
from service.experiments.comparing import FIGURES, compare_experiments
from service.experiments.reading import places_of
from service.web.cursor_pages import page, page_request

router = APIRouter(route_class=PageRoute)

PAGE_SIZE = 25
STATUSES: tuple[Status, ...] = ("queued", "running", "succeeded", "failed", "cancelled")
PHASES = ("waiting", "screening", "fine-tuning", "final evaluation")


@dataclass(frozen=True)
class Leader:
    """The trial that is first, or won, with the figure that ranks it."""

    name: str
    figure: str


@dataclass(frozen=True)
class Row:
    """One experiment in the list. `recall` and `specificity` are those of the test set."""

    id: str
    name: str
    dataset: str
    status: str
    phase: str
    progress: float
    recall: float | None
    specificity: float | None
    leader: Leader | None
    submitted_by: str | None
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
        page_request(PAGE_SIZE, cursor),
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


@router.get("/experiments/compare")
def compare_page(
    viewer: Viewing, session: Reading, ids: Annotated[list[str] | None, Query(alias="id", max_length=20)] = None
) -> Response:
    if len(set(ids or ())) < 2:
        raise unprocessable(
            "fewer than two experiments were chosen",
            "Go back and choose at least two.",
            Finding(detail="two are needed", parameter="id"),
        )
    comparison = compare_experiments(session, ids or ())
    return show(
        "compare_experiments.html",
        viewer,
        page="compare_experiments",
        comparison=comparison,
        figures=FIGURES,
        figure_labels=wording.FIGURES,
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
        Experiment.submitted_by,
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
    tested = select(
        Model.experiment_id, Model.metrics["recall"].as_float(), Model.metrics["specificity"].as_float()
    ).where(Model.experiment_id.in_(ids))
    figures = {id: (recall, specificity) for id, recall, specificity in session.execute(tested)}
    trained: dict[str, list[Trial]] = {id: [] for id in ids}
    columns = (Trial.experiment_id, Trial.name, Trial.kind, Trial.status, Trial.metrics)
    ended = (
        select(Trial)
        .options(load_only(*columns))
        .where(Trial.experiment_id.in_(ids), Trial.status == "succeeded", Trial.kind == "train")
    )
    for trial in session.scalars(ended.order_by(Trial.phase, Trial.position)):
        trained[trial.experiment_id].append(trial)
    return [_row(row, *figures.get(row.id, (None, None)), trained[row.id], waiting.get(row.id)) for row in rows]


def _row(
    row: Experiment,
    recall: float | None,
    specificity: float | None,
    trained: Sequence[Trial],
    waiting: WaitingRead | None,
) -> Row:
    ranking = Ranking.of_answer(row.spec)
    first = next(iter(ranking.order(trained)), None)
    return Row(
        id=row.id,
        name=row.name,
        dataset=row.spec["dataset"],
        status=row.status,
        phase=PHASES[row.phase],
        progress=row.progress,
        recall=recall,
        specificity=specificity,
        leader=None if first is None else Leader(first.name, ranking.figure(first)),
        submitted_by=row.submitted_by,
        created_at=row.created_at,
        waiting=waiting,
    )
