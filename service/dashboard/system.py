"""The system page: workers, queues, versions, recent events and predictions, as in `GET /v1/system`."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.tables import Experiment, Trial
from service.dashboard.shell import PageRoute, Viewing, show
from service.dependencies import Reading, Services
from service.presentation.drawing import COLOURS, Plot, as_json, empty_figure
from service.system.endpoints import system_state
from service.system.schemas import Day, EventRead

router = APIRouter(route_class=PageRoute)

EVENTS_SHOWN = 12
CHECK_NAMES = {"database": "Database", "broker": "Broker", "store": "Store", "model": "Model"}


@dataclass(frozen=True)
class RecentEvent:
    """One event as the page shows it."""

    when: datetime
    experiment_id: str
    experiment: str
    subject: str
    status: str
    worker: str


@router.get("/system")
def system_page(viewer: Viewing, session: Reading, services: Services) -> HTMLResponse:
    system = system_state(session, services)
    return show(
        "system.html",
        viewer,
        page="system",
        system=system,
        check_names=CHECK_NAMES,
        events=_recent_events(session, system.events[:EVENTS_SHOWN]),
        predictions=_predictions(system.days) if any(day.malignant + day.benign for day in system.days) else None,
        drift=_drift(system.days) if any(day.drift is not None for day in system.days) else None,
    )


def _recent_events(session: Session, events: list[EventRead]) -> list[RecentEvent]:
    names = _names(session, events)
    return [
        RecentEvent(
            when=event.created_at,
            experiment_id=event.experiment_id,
            experiment=names.get(event.experiment_id, event.experiment_id),
            subject=names.get(str(event.data.get("trial_id")), "experiment"),
            status=str(event.data.get("status") or f"phase {event.data.get('phase', '')}".strip()),
            worker=str(event.data.get("worker") or ""),
        )
        for event in events
    ]


def _names(session: Session, events: list[EventRead]) -> dict[str, str]:
    """Names of the experiments and trials in the events, by id."""
    experiment_ids = {event.experiment_id for event in events}
    trial_ids = {str(event.data.get("trial_id")) for event in events}
    experiments = session.execute(select(Experiment.id, Experiment.name).where(Experiment.id.in_(experiment_ids)))
    trials = session.execute(select(Trial.id, Trial.name).where(Trial.id.in_(trial_ids)))
    return {key: name or key for found in (experiments, trials) for key, name in found}


def _predictions(days: list[Day]) -> Plot:
    figure = empty_figure("", "Images per day")
    dates = [day.day.isoformat() for day in days]
    for name, counts, colour in (
        ("malignant", [day.malignant for day in days], COLOURS[1]),
        ("benign", [day.benign for day in days], COLOURS[0]),
    ):
        figure.add_bar(x=dates, y=counts, name=name, marker={"color": colour})
    figure.update_layout(barmode="stack", height=280, xaxis={"type": "date", "tickformat": "%d %b"})
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.15, "x": 0})
    malignant, benign = sum(day.malignant for day in days), sum(day.benign for day in days)
    alt = f"{malignant + benign:,} predictions in {len(days)} days: {malignant:,} malignant, {benign:,} benign."
    return Plot("predictions", "Predictions per day (UTC)", alt, as_json(figure))


def _drift(days: list[Day]) -> Plot:
    figure = empty_figure("", "Distance from validation")
    measured = [day for day in days if day.drift is not None]
    dates = [day.day.isoformat() for day in days]
    figure.add_scatter(
        x=dates,
        y=[day.drift for day in days],
        mode="lines+markers",
        name="distance",
        line={"color": COLOURS[0], "width": 2.5},
        marker={"size": 8},
    )
    chance = [day.chance for day in days]
    figure.add_scatter(x=dates, y=chance, mode="lines", name="chance", line={"dash": "dot", "color": COLOURS[1]})
    figure.update_layout(height=280, xaxis={"type": "date", "tickformat": "%d %b"}, yaxis={"rangemode": "tozero"})
    figure.update_layout(showlegend=True, legend={"orientation": "h", "y": 1.15, "x": 0})
    above = sum((day.drift or 0) > (day.chance or 1) for day in measured)
    alt = (
        f"On {above} of {len(measured)} days with at least 50 predictions, the distance from the probabilities on "
        "validation images exceeds what chance alone exceeds on one day in twenty (dotted)."
    )
    return Plot("drift", "Drift of the champion's probabilities", alt, as_json(figure))
