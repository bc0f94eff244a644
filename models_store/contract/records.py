"""The records of a finished model: in its bundle, in the database, and in the message of the trial that made it.

A record written by an older version lacks fields that came later; those have defaults.
"""

from datetime import datetime
from typing import Literal, Self

from pydantic import Field, model_validator

from models_store.contract.specs import CalibrationPolicy, CalibrationSpec, Record, SelectionSpec, TrialSpec
from models_store.scoring.probability_calibration import ProbabilityCalibration

Kind = Literal["confidence", "expectation", "none"]


class Guarantee(Record):
    """The guarantee that `/predict` repeats with every answer. `holds` is false for a void or absent promise."""

    holds: bool
    kind: Kind
    target_recall: float | None
    confidence: float | None
    positives: int
    allowed_misses: int | None
    seen_misses: int
    sentence: str


class ThresholdDecision(Record):
    """A decision threshold and how it was chosen. Decide `malignant iff p >= threshold`.

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


Method = Literal["identity", "temperature", "platt"]


class Calibratedness(Record):
    """How well probabilities match outcomes; the lower the better."""

    ece: float
    brier: float
    log_loss: float


class ProbabilityChoice(Record):
    """The chosen map, the cross-validated log loss of each candidate, and calibratedness before and after.

    `after` is measured out of fold, on images that the map was not fitted to.
    """

    calibration: ProbabilityCalibration
    cross_validated_log_loss: dict[Method, float]
    before: Calibratedness
    after: Calibratedness


class OutOfDistributionFit(Record):
    """How the limit of the out-of-distribution score was chosen; counts of images, and dimensions."""

    method: Literal["mahalanobis"]
    cut: float
    usual_share: float
    features: int
    directions: int
    training_images: int
    calibration_images: int


class CalibrationRecord(Record):
    """`calibration.json` of a bundle: threshold, guarantee, and the calibration of probabilities."""

    threshold: float
    guarantee: Guarantee
    probability_calibration: ProbabilityCalibration
    probabilities: ProbabilityChoice
    decision: ThresholdDecision
    likeness: OutOfDistributionFit | None = None


class Scored(Record):
    """Calibrated probabilities of malignant of N images, which are malignant, and which show the same lesion."""

    scores: list[float] = Field(examples=[[0.02, 0.31, 0.88]])
    malignant: list[bool] = Field(examples=[[False, False, True]])
    lesions: list[int] | None = Field(
        None,
        description="The lesion that each image shows, by a number within this list; null where lesions are unknown.",
        examples=[[0, 1, 2]],
    )

    @model_validator(mode="after")
    def every_score_has_a_label(self) -> Self:
        if not self.scores or len(self.scores) != len(self.malignant):
            raise ValueError(f"{len(self.scores)} scores and {len(self.malignant)} labels")
        if self.lesions is not None and len(self.lesions) != len(self.scores):
            raise ValueError(f"{len(self.scores)} scores and {len(self.lesions)} lesions")
        return self

    @property
    def lowest_of_lesions(self) -> list[float] | None:
        """The lowest score of each malignant lesion, which the guarantee counts; None where lesions are unknown."""
        if self.lesions is None:
            return None
        lowest: dict[int, float] = {}
        for score, is_malignant, lesion in zip(self.scores, self.malignant, self.lesions, strict=True):
            if is_malignant:
                lowest[lesion] = min(score, lowest.get(lesion, score))
        return list(lowest.values())


class Validation(Record):
    """`validation.json` of a bundle: scores with which the threshold can be moved without the test set."""

    calibration: Scored
    selection: Scored | None = None


class PartSize(Record):
    """One part of the data; `lesions` is None where lesion ids are unknown."""

    images: int
    malignant: int
    lesions: int | None


class DataSizes(Record):
    """Every part that Phases 1 and 2 may see; None where lesion ids are unknown."""

    train: PartSize
    selection: PartSize
    calibration: PartSize
    selection_images_of_train_lesions: int | None
    calibration_images_of_train_lesions: int | None


class Member(Record):
    """One network of the final model; the first is the winner."""

    name: str
    trial: TrialSpec


class About(Record):
    """What was trained, on what and how.

    `members` is empty in bundles made before there were ensembles.
    """

    experiment_id: str
    winner: str
    architecture: str
    trial: TrialSpec
    dataset: str
    dataset_sha256: str
    synthetic: bool
    weights: str
    image_size: int
    seed: int
    epochs: int
    patience: int
    selection: SelectionSpec
    calibration: CalibrationSpec
    data: DataSizes
    views: int = 1
    members: tuple[Member, ...] = ()


class Frozen(Record):
    """`frozen.json` of a bundle: what was trained, and the sha256 of every frozen file."""

    about: About
    files: dict[str, str]


class Parity(Record):
    """How far the ONNX network's probabilities of malignant lie from Keras' on the same images."""

    max_abs_difference: float
    images: int
    decisions_differ: int


class AnswerTime(Record):
    """The median of `runs` single-image runs of the exported graph on one thread, and the machine that ran it."""

    milliseconds: float
    runs: int
    machine: str


class TestSetOpening(Record):
    """That a test set was opened: when, and for which frozen bundle and threshold."""

    __test__ = False  # pytest would collect it for its name

    dataset: str
    dataset_sha256: str
    bundle_sha256: str
    threshold: float
    images: int
    opened_at: datetime


class TestSetAlreadyOpened(RuntimeError):
    """The experiment has opened its test set; a second opening would be selection on it."""

    __test__ = False  # pytest would collect it for its name

    def __init__(self, experiment_id: str, bundle_sha256: str, when: str) -> None:
        super().__init__(
            f"experiment {experiment_id} opened its test set {when} for the bundle {bundle_sha256[:12]}; read the "
            "recorded result, or submit a new experiment"
        )
