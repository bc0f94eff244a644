"""The report of an experiment as one HTML page: reads the record and renders the template."""

from pathlib import Path
from typing import Any

import plotly.offline
from markupsafe import Markup
from sqlalchemy.orm import Session

from models_store import wording
from models_store.database import release
from models_store.store.storage import Storage
from models_store.tables import Model
from models_store.wording import estimates, groups
from service.presentation import descriptions, plots
from service.presentation.citing import citation
from service.presentation.experiment import BundleContents, ExperimentRecord, read_bundle_contents, read_record
from service.presentation.templates import TEMPLATES
from service.report import training_curves

# The page contains everything it needs, so a browser may load nothing else; plotly.js makes a PNG from a blob.
REPORT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
    "form-action 'none'"
)
RECALLS_SHOWN = (0.80, 0.85, 0.90, 0.95, 0.975)


def report_page(session: Session, storage: Storage, cache_root: Path, experiment_id: str) -> str:
    """One self-contained HTML file for an experiment in any state, which names what is missing.

    Raises `ExperimentNotFound`.
    """
    record = read_record(session, experiment_id)
    release(session)
    bundle = BundleContents() if record.model is None else read_bundle_contents(storage, record.model, cache_root)
    return TEMPLATES.get_template("report.html").render(
        record=record,
        experiment=record.experiment,
        configuration=descriptions.configuration(record.spec),
        unfinished=descriptions.why_unfinished(record),
        cautions=descriptions.cautions(record),
        policy=REPORT_POLICY,
        curves=training_curves.trial_curves(record),
        legend=training_curves.trial_legend(record),
        environments=_environments(record),
        bundle=bundle,
        citation=citation(record),
        plotly=Markup(plotly.offline.get_plotlyjs()),
        **_test_results(record.model),
    )


def _test_results(model: Model | None) -> dict[str, Any]:
    """What only a tested model has; `test` is None without one."""
    if model is None:
        return {"test": None}
    test, calibration = model.metrics, model.calibration
    has_curve = bool(test["curve"])
    figures = wording.figure_rows(test)
    return {
        "test": test,
        "calibration": calibration,
        "decision": calibration["decision"],
        "guarantee": calibration["guarantee"],
        "probabilities": calibration["probabilities"],
        "figures": figures,
        "at_the_prevalence": wording.figure_rows(test, ("ppv", "npv")),
        "at_half": list(zip(figures, wording.figure_rows(test["at_half"]), strict=True)),
        "leak_free": test["leak_free"] and list(zip(wording.figure_rows(test["leak_free"]), figures, strict=True)),
        "roc": plots.roc(test) if has_curve else None,
        "precision_recall": plots.precision_recall(test) if has_curve else None,
        "operating_points": _operating_points(test),
        "reliability": plots.reliability(test),
        "likelihood_ratios": estimates.likelihood_rows(test),
        "calibration_estimates": estimates.calibration_rows(test),
        "net_benefit": estimates.net_benefit_rows(test),
        "decision_curve": plots.decision_curve(test) if test.get("decision_curve") else None,
        "diagnoses": plots.diagnoses(test),
        "new_lesions": wording.new_lesions(test, model.dataset),
        "rest_of_test_set": test["leak_free"] and wording.rest_of_test_set(test),
        "groupings": groups.described(test.get("groupings", ())),
        "seven": test.get("seven"),
    }


def _operating_points(test: dict[str, Any]) -> list[dict[str, Any]]:
    """The first point of the drawn curve that reaches each of several recalls."""
    reached = ((target, next((p for p in test["curve"] if p["recall"] >= target), None)) for target in RECALLS_SHOWN)
    return [point | {"target": target} for target, point in reached if point is not None]


def _environments(record: ExperimentRecord) -> list[tuple[str, dict[str, Any]]]:
    """Each distinct environment with the names of its trials."""
    found: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for trial in (*record.trials, *((record.final,) if record.final else ())):
        if trial.environment:
            key = tuple((name, str(value)) for name, value in trial.environment.items())
            found.setdefault(key, []).append(trial.name)
    return [(", ".join(names), dict(environment)) for environment, names in found.items()]
