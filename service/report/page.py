"""Study to page: everything the template shows, read and worded here, escaped there."""

from pathlib import Path
from typing import Any

import plotly.offline
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy.orm import Session

from models_store import wording
from models_store.contract.catalog import DISCLAIMER
from models_store.database import release
from models_store.store.storage import Storage
from models_store.tables import Model
from service.presentation import plots, words
from service.presentation.experiment import Kept, Study, read_kept, read_study
from service.report import training_curves

# The page carries all it needs: whatever else a browser would load, it may not.
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
RECALLS_SHOWN = (0.80, 0.85, 0.90, 0.95, 0.975)

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters |= wording.FILTERS


def report_page(session: Session, storage: Storage, cache_root: Path, experiment_id: str) -> str:
    """One HTML file that loads nothing from anywhere, for an experiment in any state.

    What the study has not reached, or lost, is named as missing. Raises `ExperimentNotFound`.
    """
    study = read_study(session, experiment_id)
    release(session)
    kept = Kept() if study.model is None else read_kept(storage, study.model, cache_root)
    return TEMPLATES.get_template("page.html").render(
        study=study,
        experiment=study.experiment,
        asked=words.asked(study.spec),
        missing=words.missing(study),
        flags=words.flags(study),
        disclaimer=DISCLAIMER,
        policy=REPORT_POLICY,
        curves=training_curves.trial_curves(study),
        legend=training_curves.trial_legend(study),
        environments=_environments(study),
        kept=kept,
        plotly=Markup(plotly.offline.get_plotlyjs()),
        **_final(study.model),
    )


def _final(model: Model | None) -> dict[str, Any]:
    """What only a tested model has; `test` is None without one."""
    if model is None:
        return {"test": None}
    test, calibration = model.metrics, model.calibration
    has_curve = bool(test["curve"])
    return {
        "test": test,
        "calibration": calibration,
        "decision": calibration["decision"],
        "guarantee": calibration["guarantee"],
        "probabilities": calibration["probabilities"],
        "figures": wording.figure_rows(test),
        "at_the_prevalence": wording.figure_rows(test, ("ppv", "npv")),
        "at_half": wording.figure_rows(test["at_half"]),
        "leak_free": None if test["leak_free"] is None else wording.figure_rows(test["leak_free"]),
        "roc": plots.roc(test) if has_curve else None,
        "precision_recall": plots.precision_recall(test) if has_curve else None,
        "operating_points": _operating_points(test),
        "reliability": plots.reliability(test),
        "diagnoses": plots.diagnoses(test),
    }


def _operating_points(test: dict[str, Any]) -> list[dict[str, Any]]:
    """The first drawn point of the curve that reaches each of a few recalls."""
    reached = ((wanted, next((p for p in test["curve"] if p["recall"] >= wanted), None)) for wanted in RECALLS_SHOWN)
    return [point | {"wanted": wanted} for wanted, point in reached if point is not None]


def _environments(study: Study) -> list[tuple[str, dict[str, Any]]]:
    """Each distinct environment, under the names of the trials that ran in it."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for trial in (*study.trials, *((study.final,) if study.final else ())):
        if trial.environment:
            key = tuple((name, str(value)) for name, value in trial.environment.items())
            found.setdefault(key, []).append(trial.name)
    return [(", ".join(names), dict(environment)) for environment, names in found.items()]
