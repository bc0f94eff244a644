"""What a calibration leaves behind: the threshold, and the promise in numbers and in words."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from models_store.specs import CalibrationPolicy

Kind = Literal["confidence", "expectation", "none"]


class Record(BaseModel):
    """A frozen value that goes to JSON and back unchanged."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Guarantee(Record):
    """What `/predict` repeats with every answer. `holds` is false for a void or absent promise."""

    holds: bool
    kind: Kind
    target_recall: float | None
    confidence: float | None
    positives: int
    allowed_misses: int | None
    seen_misses: int
    sentence: str


class Calibration(Record):
    """A decision threshold and how it came about. Decide `malignant iff p >= threshold`.

    `positives`, `allowed_misses` and `seen_misses` count lesions where lesion ids were given, images otherwise.
    `best_score` is what the policy maximised, as in scikit-learn's `TunedThresholdClassifierCV`. `recall`,
    `specificity` and `precision` are over the calibration images and, the threshold having been chosen on them,
    optimistic; None where undefined.
    """

    threshold: float
    policy: CalibrationPolicy
    asked_policy: CalibrationPolicy
    target_recall: float
    confidence: float
    positives: int
    allowed_misses: int | None
    seen_misses: int
    malignant_images: int
    benign_images: int
    malignant_lesions: int | None
    best_score: float | None
    margin: float
    recall: float
    specificity: float | None
    precision: float | None
    void: bool
    void_reason: str | None
    guarantee: Guarantee
    scores_sha256: str

    @property
    def best_threshold(self) -> float:
        """The threshold under scikit-learn's name for it."""
        return self.threshold


def promise(policy: CalibrationPolicy, unit: str, target_recall: float, confidence: float) -> tuple[Kind, str]:
    """The kind of promise a policy makes, and its sentence for a reader who is no statistician."""
    population = f"malignant {unit} like those of the calibration set"
    if policy == "np_sensitivity":
        return "confidence", (
            f"With {100 * confidence:.4g} % confidence, at least {100 * target_recall:.4g} % of {population} are "
            "called malignant."
        )
    if policy == "conformal_risk_control":
        return "expectation", (
            f"On average over calibration sets of this size, at least {100 * target_recall:.4g} % of {population} are "
            "called malignant; for this one set the share may be lower."
        )
    return "none", f"The policy {policy} promises no recall; see the test figures."
