"""The result page: the winner on the sealed test set, and a slider for other thresholds on validation images."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from models_store import wording
from models_store.database import release
from models_store.store.storage import Storage
from models_store.tables import Model
from models_store.wording import groups
from service.dashboard.shell import PageRoute, Viewing, show
from service.dependencies import Identifier, Reading, Services
from service.models.stored import ALTERED
from service.models.validation import (
    PATIENTS,
    Outcome,
    ValidationNotKept,
    ValidationRead,
    outcome,
    read_validation,
    stops,
)
from service.presentation.citing import citation
from service.presentation.descriptions import cautions, why_unfinished
from service.presentation.experiment import read_bundle_contents, read_record
from service.presentation.plots import result_plots

router = APIRouter(route_class=PageRoute)

ASSUMED_PREVALENCE = 0.05


@dataclass(frozen=True)
class Slider:
    """The thresholds that the slider offers on validation images, and the outcome at the chosen one."""

    validation: ValidationRead
    stops: list[float]
    chosen_index: int
    outcome: Outcome
    prevalence: float = ASSUMED_PREVALENCE
    patients: int = PATIENTS

    @property
    def matches_record(self) -> bool:
        """Whether the scores reproduce what was recorded when the threshold was chosen."""
        recorded = self.validation.recorded
        return (recorded.recall, recorded.specificity) == (self.outcome.recall, self.outcome.specificity)

    @property
    def lowest_of_lesions(self) -> list[float] | None:
        return self.validation.calibration.lowest_of_lesions

    @property
    def missed_lesions(self) -> int:
        """Malignant lesions that the chosen threshold misses: those with any image below it."""
        return sum(score < self.validation.threshold for score in self.lowest_of_lesions or ())

    @property
    def position(self) -> float:
        """Where the chosen threshold is on the slider, from 0 at the left to 1 at the right."""
        return self.chosen_index / max(len(self.stops) - 1, 1)

    @property
    def script_data(self) -> dict[str, Any]:
        return {
            **self.validation.calibration.model_dump(include={"scores", "malignant"}),
            "lowest_of_lesions": self.lowest_of_lesions,
            "stops": self.stops,
            "chosen": self.validation.threshold,
            "chosen_index": self.chosen_index,
            "patients": self.patients,
        }


@router.get("/experiments/{experiment_id}/result")
def result_page(experiment_id: Identifier, viewer: Viewing, session: Reading, services: Services) -> HTMLResponse:
    record = read_record(session, experiment_id)
    shared: dict[str, Any] = {"record": record, "experiment": record.experiment, "page": "result"}
    if record.model is None or not record.model.metrics.get("confusion"):
        reason = why_unfinished(record) or ("Incomplete record", "The model's test results were not recorded.")
        return show("no_result.html", viewer, reason=reason, **shared)
    test, calibration = record.model.metrics, record.model.calibration
    release(session)
    slider, no_slider = _slider(record.model, services.storage)
    return show(
        "result.html",
        viewer,
        **shared,
        model=record.model,
        test=test,
        calibration=calibration,
        guarantee=calibration["guarantee"],
        citation=citation(record),
        cautions=cautions(record),
        why_first=record.ranking.why_first(record.trials),
        warnings=(record.experiment.result or {}).get("warnings", []),
        figures=wording.figure_rows(test),
        leak_free=None if test["leak_free"] is None else wording.figure_rows(test["leak_free"]),
        new_lesions=wording.new_lesions(test, record.model.dataset),
        rest_of_test_set=None if test["leak_free"] is None else wording.rest_of_test_set(test),
        groupings=groups.described(test.get("groupings", ())),
        seven=test.get("seven"),
        plots=result_plots(test),
        bundle=read_bundle_contents(services.storage, record.model, services.settings.cache_root),
        slider=slider,
        no_slider=no_slider,
    )


def _slider(model: Model, storage: Storage) -> tuple[Slider | None, str | None]:
    """The slider, or the reason why there is none."""
    try:
        validation = read_validation(model, storage)
    except (ValidationNotKept, *ALTERED) as error:
        return None, str(error)
    images, thresholds = validation.calibration, stops(validation.calibration.scores, model.threshold)
    at_chosen = outcome(images.scores, images.malignant, model.threshold)
    return Slider(validation, thresholds, thresholds.index(model.threshold), at_chosen), None
