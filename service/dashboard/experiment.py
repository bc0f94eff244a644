"""The page of one experiment: its phases, curves, leaderboard and logs, and forms to cancel, retry or delete it."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from dermatriage_client.schemas import ENDED
from models_store import runs
from models_store.contract.specs import ExperimentSpec
from models_store.experiment.ranking import Ranking
from models_store.runs import find_experiment, trials_of
from models_store.tables import EpochRow, Experiment, Model, Trial, TrialLog
from service.access.gate import Caller
from service.dashboard.leaderboard import columns, leaderboard, phases
from service.dashboard.shell import PageRoute, Viewing, show
from service.dependencies import Identifier, Reading, Service, Services, Writing
from service.errors import Problem
from service.experiments.reading import places_of
from service.presentation.descriptions import configuration, remedy
from service.presentation.drawing import COLOURS

router = APIRouter(route_class=PageRoute)

# The name of each figure on train; on the selection images it begins with `val_`. Recall first.
FIGURES = {
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "auc": "ROC AUC",
    "loss": "Loss (cross-entropy)",
}
COLUMNS = tuple(f"{prefix}{name}" for name in FIGURES for prefix in ("", "val_"))
DIGITS = 4


@router.get("/experiments/{experiment_id}")
def experiment_page(experiment_id: Identifier, viewer: Viewing, session: Reading, services: Services) -> Response:
    experiment = find_experiment(session, experiment_id)
    spec, trials = ExperimentSpec.model_validate(experiment.spec), trials_of(session, experiment_id)
    return show(
        "experiment.html",
        viewer,
        page="experiment",
        configuration=configuration(spec),
        curves=curves(session, experiment, spec, trials),
        **_status(session, services, experiment, spec, trials),
    )


@router.get("/experiments/{experiment_id}/status")
def status_fragment(experiment_id: Identifier, viewer: Viewing, session: Reading, services: Services) -> Response:
    """The part of the page, apart from the curves, that changes while the experiment runs."""
    experiment = find_experiment(session, experiment_id)
    spec, trials = ExperimentSpec.model_validate(experiment.spec), trials_of(session, experiment_id)
    return show(
        "experiment_status.html", viewer, page="experiment", **_status(session, services, experiment, spec, trials)
    )


@router.post("/experiments/{experiment_id}/cancel")
def cancel(experiment_id: Identifier, session: Writing) -> Response:
    runs.cancel(session, experiment_id)
    return RedirectResponse(f"/experiments/{experiment_id}", 303)


@router.post("/experiments/{experiment_id}/retry")
def retry(experiment_id: Identifier, session: Writing) -> Response:
    runs.retry(session, experiment_id)
    return RedirectResponse(f"/experiments/{experiment_id}", 303)


@router.post("/experiments/{experiment_id}/delete")
def delete(experiment_id: Identifier, session: Writing, caller: Caller) -> Response:
    runs.delete_experiment(session, experiment_id, caller)
    return RedirectResponse("/", 303)


@router.get("/experiments/{experiment_id}/log/{trial_id}")
def log_page(experiment_id: Identifier, trial_id: Identifier, viewer: Viewing, session: Reading) -> Response:
    trial = session.get(Trial, trial_id)
    if trial is None or trial.experiment_id != experiment_id:
        detail = f"the experiment {experiment_id} has no trial {trial_id}"
        raise Problem("trial-not-found", detail, "Open the experiment to see its trials.")
    experiment = find_experiment(session, experiment_id)
    log = session.get(TrialLog, trial_id)
    return show("log.html", viewer, page="log", experiment=experiment, trial=trial, log=log)


def _status(
    session: Session, services: Service, experiment: Experiment, spec: ExperimentSpec, trials: list[Trial]
) -> dict[str, Any]:
    error, ranking = experiment.error or {}, Ranking.of(spec)
    places = places_of(session, [experiment], services.settings.broker_url)
    return {
        "experiment": experiment,
        "spec": spec,
        "has_ended": experiment.status in ENDED,
        "waiting": places.get(experiment.id),
        "phases": phases(experiment, spec, trials),
        "places": leaderboard(session, spec, trials),
        "ranking": ranking,
        "columns": columns(ranking),
        "why_first": ranking.why_first(trials),
        "running": sum(trial.status in ("running", "cancelling") for trial in trials),
        "model": session.scalar(select(Model).where(Model.experiment_id == experiment.id)),
        "error": error,
        "remedy": remedy(str(error.get("kind", ""))),
    }


def curves(session: Session, experiment: Experiment, spec: ExperimentSpec, trials: Sequence[Trial]) -> dict[str, Any]:
    """Columns by trial and figure, and `after`: the number of the last event that they include."""
    trained = [trial for trial in trials if trial.kind == "train"]
    columns: dict[str, dict[str, list[float | None]]] = {
        trial.id: {name: [] for name in ("number", *COLUMNS)} for trial in trained
    }
    best: defaultdict[str, int] = defaultdict(int)
    chosen = select(EpochRow.trial_id, EpochRow.number, EpochRow.metrics, EpochRow.best).where(
        EpochRow.trial_id.in_(columns)
    )
    for trial_id, number, metrics, is_best in session.execute(chosen.order_by(EpochRow.trial_id, EpochRow.number)):
        of_trial = columns[trial_id]
        of_trial["number"].append(number)
        for name in COLUMNS:
            value = metrics.get(name)
            of_trial[name].append(None if value is None else round(value, DIGITS))
        if is_best:
            best[trial_id] = number
    has_floor = spec.selection.policy in ("val_recall", "val_f2")
    return {
        "after": experiment.events,
        "ended": experiment.status in ENDED,
        "floor": spec.selection.min_specificity if has_floor else None,
        "figures": FIGURES,
        "colours": COLOURS,
        "is_empty": not any(of_trial["number"] for of_trial in columns.values()),
        "trials": [
            {"id": trial.id, "name": trial.name, "best": best[trial.id] or None, "columns": columns[trial.id]}
            for trial in trained
        ],
    }
