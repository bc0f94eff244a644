"""The scores of a model's validation images, and what another threshold would do on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, Field

from models_store.contract.records import Scored
from models_store.store.bundles import BundleUnreadable, NotInBundle
from models_store.store.storage import Storage
from models_store.tables import Model
from service.models.stored import opened


class ValidationNotKept(LookupError):
    """The bundle holds no validation scores: it is from an earlier version, or was made elsewhere."""


class Recorded(BaseModel):
    """What was recorded at the sealed threshold when it was set."""

    recall: float | None = Field(None, examples=[0.958])
    specificity: float | None = Field(None, examples=[0.62])
    malignant_images: int | None = Field(None, examples=[98])
    benign_images: int | None = Field(None, examples=[404])


class ValidationRead(BaseModel):
    """Validation scores of a model. Figures from them are optimistic: they chose the threshold or the epoch."""

    version: str = Field(examples=["mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e"])
    threshold: float = Field(description="The sealed threshold.", examples=[0.31])
    recorded: Recorded
    calibration: Scored = Field(description="The images that set the threshold.")
    selection: Scored | None = Field(
        description="The images that chose epoch and network.",
        examples=[{"scores": [0.05, 0.4, 0.7], "malignant": [False, False, True]}],
    )


def read_validation(model: Model, storage: Storage) -> ValidationRead:
    """Verifies the file like every file of a bundle.

    Raises `ValidationNotKept`, or `BundleAltered`, `StoredFileMissing` and `StoredFileAltered` like `StoredBundle`.
    """
    try:
        with opened(model, storage) as bundle:
            found = bundle.validation
    except (NotInBundle, BundleUnreadable) as error:
        raise ValidationNotKept(f"the scores of {model.version} cannot be read: {error}") from error
    return ValidationRead(
        version=model.version,
        threshold=model.threshold,
        recorded=Recorded.model_validate(model.calibration.get("decision") or {}),
        calibration=found.calibration,
        selection=found.selection,
    )


PATIENTS = 1000


@dataclass(frozen=True)
class Outcome:
    """Counts of images at a threshold, and rates; None where a class is absent."""

    found: int
    missed: int
    alarms: int
    cleared: int

    @property
    def recall(self) -> float | None:
        malignant = self.found + self.missed
        return self.found / malignant if malignant else None

    @property
    def specificity(self) -> float | None:
        benign = self.alarms + self.cleared
        return self.cleared / benign if benign else None

    def missed_cancers(self, prevalence: float, patients: int = PATIENTS) -> float | None:
        """Of `patients`, a share `prevalence` of whom has cancer: those with cancer who are classified as benign."""
        return None if self.recall is None else patients * prevalence * (1 - self.recall)

    def extra_biopsies(self, prevalence: float, patients: int = PATIENTS) -> float | None:
        """Of `patients`: those without cancer who are classified as malignant."""
        return None if self.specificity is None else patients * (1 - prevalence) * (1 - self.specificity)


def outcome(scores: Sequence[float], malignant: Sequence[bool], threshold: float) -> Outcome:
    """Counts every score at or above the threshold as malignant. Both sequences have length N."""
    predicted = [score >= threshold for score in scores]
    counts = {(actual, positive): 0 for actual in (True, False) for positive in (True, False)}
    for actual, positive in zip(malignant, predicted, strict=True):
        counts[bool(actual), positive] += 1
    return Outcome(counts[True, True], counts[True, False], counts[False, True], counts[False, False])


def stops(scores: Sequence[float], sealed: float) -> list[float]:
    """The positions of the slider, ascending: the thresholds at which a count changes, and the sealed one."""
    return sorted({*scores, sealed})
