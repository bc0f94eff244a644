"""The page `Result`: what the winner does on the sealed test set, and what another threshold would do on validation."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from models_store import wording
from models_store.database import release
from models_store.store.storage import Storage
from models_store.tables import Model
from service.dashboard.shell import PageRoute, Viewing, show
from service.dependencies import Identifier, Reading, Services
from service.models.downloads import ALTERED
from service.models.validation import (
    PATIENTS,
    Outcome,
    ValidationNotKept,
    ValidationRead,
    outcome,
    read_validation,
    stops,
)
from service.presentation import plots, words
from service.presentation.drawing import Plot
from service.presentation.experiment import read_kept, read_study

router = APIRouter(route_class=PageRoute)

ASSUMED_PREVALENCE = 0.05


@dataclass(frozen=True)
class Slider:
    """Where the threshold may stand on validation images, and what it does where it was sealed."""

    validation: ValidationRead
    stops: list[float]
    sealed_at: int
    outcome: Outcome
    prevalence: float = ASSUMED_PREVALENCE
    patients: int = PATIENTS

    @property
    def agrees(self) -> bool:
        """Whether the scores give what was recorded when the threshold was set."""
        recorded = self.validation.recorded
        return (recorded.recall, recorded.specificity) == (self.outcome.recall, self.outcome.specificity)

    @property
    def place(self) -> float:
        """Of the sealed threshold on the slider, from 0 at its left end to 1."""
        return self.sealed_at / max(len(self.stops) - 1, 1)

    @property
    def carried(self) -> dict[str, Any]:
        """What the script needs."""
        return {
            **self.validation.calibration.model_dump(),
            "stops": self.stops,
            "sealed": self.validation.threshold,
            "sealed_at": self.sealed_at,
            "patients": self.patients,
        }


@router.get("/studies/{experiment_id}/result")
def result_page(experiment_id: Identifier, viewer: Viewing, session: Reading, services: Services) -> HTMLResponse:
    study = read_study(session, experiment_id)
    shared: dict[str, Any] = {"study": study, "experiment": study.experiment, "page": "result"}
    if study.model is None or not study.model.metrics.get("confusion"):
        missing = words.missing(study) or ("Incomplete record", "The model's test figures were not recorded.")
        return show("no_result.html", viewer, missing=missing, **shared)
    test, calibration = study.model.metrics, study.model.calibration
    release(session)
    slider, no_slider = _slider(study.model, services.storage)
    return show(
        "result.html",
        viewer,
        **shared,
        model=study.model,
        test=test,
        calibration=calibration,
        guarantee=calibration["guarantee"],
        flags=words.flags(study),
        warnings=(study.experiment.result or {}).get("warnings", []),
        figures=wording.figure_rows(test),
        leak_free=None if test["leak_free"] is None else wording.figure_rows(test["leak_free"]),
        drawn=_drawn(test),
        kept=read_kept(services.storage, study.model, services.settings.cache_root),
        slider=slider,
        no_slider=no_slider,
    )


def _slider(model: Model, storage: Storage) -> tuple[Slider | None, str | None]:
    """The slider, or why there is none."""
    try:
        validation = read_validation(model, storage)
    except (ValidationNotKept, *ALTERED) as lacking:
        return None, str(lacking)
    part, places = validation.calibration, stops(validation.calibration.scores, model.threshold)
    at_the_seal = outcome(part.scores, part.malignant, model.threshold)
    return Slider(validation, places, places.index(model.threshold), at_the_seal), None


def _drawn(test: dict[str, Any]) -> list[Plot]:
    curves = [plots.roc(test), plots.precision_recall(test)] if test["curve"] else []
    return [*curves, plots.reliability(test), plots.diagnoses(test)]
