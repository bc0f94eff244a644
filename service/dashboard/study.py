"""One study on one page: its phases, its curves, its leaderboard, and the way to stop it."""

from typing import Any

from fastapi import APIRouter, BackgroundTasks, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store import runs
from models_store.runs import ExperimentNotFound
from models_store.specs import ExperimentSpec
from models_store.tables import Experiment, Model, Trial, TrialLog
from service.dashboard.curves import curves
from service.dashboard.phrases import remedy
from service.dashboard.shell import PageRoute, Viewing, show
from service.dashboard.standing import ENDED, leaderboard, phases
from service.deps import Identifier, Reading, Services, Writing
from service.errors import Problem
from service.experiments.report.words import asked

router = APIRouter(route_class=PageRoute)


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
