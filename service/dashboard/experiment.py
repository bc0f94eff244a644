"""One experiment on one page: its phases, its curves, its leaderboard, and the way to stop it."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, BackgroundTasks, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from dermatriage_client.schemas import ENDED
from models_store import runs
from models_store.contract.specs import ExperimentSpec
from models_store.runs import ExperimentNotFound
from models_store.tables import EpochRow, Experiment, Model, Trial, TrialLog
from service.dashboard.leaderboard import leaderboard, phases
from service.dashboard.shell import PageRoute, Viewing, show
from service.dependencies import Identifier, Reading, Services, Writing
from service.errors import Problem
from service.presentation.phrases import remedy
from service.presentation.words import asked

router = APIRouter(route_class=PageRoute)


# Each figure as it is named for train and for the selection images; recall first.
FIGURES = {
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "auc": "ROC AUC",
    "loss": "Loss (cross-entropy)",
}


SHOWN = tuple(f"{prefix}{name}" for name in FIGURES for prefix in ("", "val_"))


DIGITS = 4


@router.get("/studies/{experiment_id}")
def study_page(experiment_id: Identifier, viewer: Viewing, session: Reading) -> Response:
    experiment = _experiment(session, experiment_id)
    spec, trials = ExperimentSpec.model_validate(experiment.spec), _trials(session, experiment_id)
    return show(
        "study.html",
        viewer,
        page="study",
        asked=asked(spec),
        curves=curves(session, experiment, spec, trials),
        **_standing(session, experiment, spec, trials),
    )


@router.get("/studies/{experiment_id}/standing")
def standing(experiment_id: Identifier, viewer: Viewing, session: Reading) -> Response:
    """The part of the page that changes while the study runs, curves apart."""
    experiment = _experiment(session, experiment_id)
    spec, trials = ExperimentSpec.model_validate(experiment.spec), _trials(session, experiment_id)
    return show("standing.html", viewer, page="study", **_standing(session, experiment, spec, trials))


@router.post("/studies/{experiment_id}/cancel")
def cancel(experiment_id: Identifier, session: Writing, services: Services, background: BackgroundTasks) -> Response:
    runs.cancel(session, experiment_id)
    background.add_task(services.announce, experiment_id)
    return RedirectResponse(f"/studies/{experiment_id}", 303)


@router.get("/studies/{experiment_id}/log/{trial_id}")
def log_page(experiment_id: Identifier, trial_id: Identifier, viewer: Viewing, session: Reading) -> Response:
    trial = session.get(Trial, trial_id)
    if trial is None or trial.experiment_id != experiment_id:
        detail = f"the study {experiment_id} has no trial {trial_id}"
        raise Problem(404, "trial-not-found", "There is no such trial", detail, "Its page lists those it has.")
    experiment = _experiment(session, experiment_id)
    printed = session.get(TrialLog, trial_id)
    return show("log.html", viewer, page="log", experiment=experiment, trial=trial, printed=printed)


def _standing(session: Session, experiment: Experiment, spec: ExperimentSpec, trials: list[Trial]) -> dict[str, Any]:
    error = experiment.error or {}
    return {
        "experiment": experiment,
        "spec": spec,
        "is_over": experiment.status in ENDED,
        "phases": phases(experiment, spec, trials),
        "places": leaderboard(session, experiment, spec, trials),
        "running": sum(trial.status in ("running", "cancelling") for trial in trials),
        "model": session.scalar(select(Model.version).where(Model.experiment_id == experiment.id)),
        "error": error,
        "remedy": remedy(str(error.get("kind", ""))),
    }


def _trials(session: Session, experiment_id: str) -> list[Trial]:
    chosen = select(Trial).where(Trial.experiment_id == experiment_id).order_by(Trial.phase, Trial.position)
    return list(session.scalars(chosen))


def _experiment(session: Session, experiment_id: str) -> Experiment:
    experiment = session.get(Experiment, experiment_id)
    if experiment is None:
        raise ExperimentNotFound(f"there is no experiment {experiment_id}")
    return experiment


def curves(session: Session, experiment: Experiment, spec: ExperimentSpec, trials: Sequence[Trial]) -> dict[str, Any]:
    """Columns by trial and figure, and `after`: the number of the last event that they tell of."""
    trained = [trial for trial in trials if trial.kind == "train"]
    columns: dict[str, dict[str, list[float | None]]] = {
        trial.id: {name: [] for name in ("number", *SHOWN)} for trial in trained
    }
    best: defaultdict[str, int] = defaultdict(int)
    chosen = select(EpochRow.trial_id, EpochRow.number, EpochRow.metrics, EpochRow.best).where(
        EpochRow.trial_id.in_(columns)
    )
    for trial_id, number, metrics, is_best in session.execute(chosen.order_by(EpochRow.trial_id, EpochRow.number)):
        of_it = columns[trial_id]
        of_it["number"].append(number)
        for name in SHOWN:
            value = metrics.get(name)
            of_it[name].append(None if value is None else round(value, DIGITS))
        if is_best:
            best[trial_id] = number
    guarded = spec.selection.policy in ("val_recall", "val_f2")
    return {
        "after": experiment.events,
        "ended": experiment.status in ("succeeded", "failed", "cancelled"),
        "floor": spec.selection.min_specificity if guarded else None,
        "figures": FIGURES,
        "trials": [
            {"id": trial.id, "name": trial.name, "best": best[trial.id] or None, "columns": columns[trial.id]}
            for trial in trained
        ],
    }
