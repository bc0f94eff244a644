"""The contract: an experiment as a person posts it, and a trial as a worker receives it."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from models_store.contract.catalog import ARCHITECTURES, CLASS_WEIGHTS, RESIZING, STRATEGIES, STUDY, Unfreeze
from models_store.contract.recipes import RecipeName
from models_store.contract.suggestions import suggestion

DATASET_NAME = r"^[a-z0-9][a-z0-9_.-]{0,63}$"


def _require_dataset_name(value: str) -> str:
    if re.fullmatch(DATASET_NAME, value) is None:
        rule = "Use up to 64 lower-case letters, digits, '_', '-' and '.', starting with a letter or digit"
        raise PydanticCustomError("dataset_name", rule)
    return value


DatasetName = Annotated[
    str, AfterValidator(_require_dataset_name), WithJsonSchema({"type": "string", "pattern": DATASET_NAME})
]
# Below the broker's visibility timeout of a day, after which it delivers a message again.
MAX_TRIAL_MINUTES = 23 * 60
MAX_EXPERIMENT_MINUTES = 90 * 24 * 60
Rate = Annotated[float, Field(gt=0, lt=1)]
SelectionPolicy = Literal["val_recall", "specificity_at_recall", "val_f2", "val_recall_unguarded"]
CalibrationPolicy = Literal[
    "np_sensitivity", "conformal_risk_control", "recall_at_precision", "f_beta", "cost", "youden", "fixed"
]

# docs/selection.md: networks selected on a tenth of train are as good as those selected on half of validation, and all
# of validation then calibrates: twice the malignant images give the same guarantee at a higher specificity.
DEFAULT_SOURCE: Literal["train"] = "train"
HELD_OUT_SHARE = {"validation": 0.5, "train": 0.1}


KNOWN_NAMES: dict[str, Mapping[str, object]] = {
    "architectures": ARCHITECTURES,
    "class_weights": CLASS_WEIGHTS,
    "strategies": STRATEGIES,
}


class Record(BaseModel):
    """A frozen value that goes to JSON and back unchanged; an unknown field is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Spec(Record):
    """A specification by a person, or a part of one."""


class SelectionSpec(Spec):
    """How the best epoch of a trial and the best trial of a phase are chosen, without the data for the threshold."""

    policy: SelectionPolicy = Field("val_recall", description="What is maximised on the selection split.")
    min_specificity: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.5, description="An epoch below this validation specificity is not eligible; `val_recall` and `val_f2` use it."
    )


class CalibrationSpec(Spec):
    """How the decision threshold is chosen, and what it promises."""

    policy: CalibrationPolicy = Field("np_sensitivity", description="Rule that turns scores into a threshold.")
    target_recall: Rate = Field(0.90, description="Recall on malignant that the threshold has to reach.")
    confidence: Rate = Field(0.95, description="Probability, over calibration samples, that the target is reached.")
    source: Literal["validation", "train"] = Field(
        DEFAULT_SOURCE,
        description="`validation` holds part of validation back for calibration; `train` selects on a part held out of "
        "train and calibrates on all of validation.",
    )
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        HELD_OUT_SHARE[DEFAULT_SOURCE],
        description="Share of `source` that is held out: of validation for calibration (0.5 unless given), of train "
        "for selection (0.1 unless given).",
    )
    reuse: bool = Field(False, description="Calibrate on the images that chose the epoch. Voids the guarantee.")
    fallback: CalibrationPolicy | None = Field(
        None, description="Weaker policy to use, and to label, where too few malignant images exist for `policy`."
    )
    min_precision: Rate = Field(0.40, description="Precision that `recall_at_precision` keeps.")
    beta: Annotated[float, Field(gt=0, le=100)] = Field(2.0, description="Weight of recall over precision in `f_beta`.")
    false_negative_cost: Annotated[float, Field(gt=0, le=1e6)] = Field(
        10.0, description="Cost of a missed malignancy relative to one extra biopsy, for `cost`."
    )
    threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(None, description="The threshold of `fixed`.")

    @model_validator(mode="before")
    @classmethod
    def share_follows_the_source(cls, given: Any) -> Any:
        if isinstance(given, dict) and "share" not in given and given.get("source") in HELD_OUT_SHARE:
            return {**given, "share": HELD_OUT_SHARE[given["source"]]}
        return given

    @model_validator(mode="after")
    def fixed_needs_a_threshold(self) -> Self:
        if "fixed" in (self.policy, self.fallback) and self.threshold is None:
            raise ValueError("the policy 'fixed' needs a threshold: add \"threshold\": a number between 0 and 1")
        return self


class FinalModelSpec(Spec):
    """What Phase 3 packs into one graph."""

    views: Literal[1, 8] = Field(
        1, description="8 averages the eight rotations and reflections of an image, 1 takes it as it is."
    )
    ensemble: Annotated[int, Field(ge=1, le=8)] = Field(
        1, description="Averages up to so many different trials of the experiment, chosen on the selection split."
    )


class LimitsSpec(Spec):
    """How long anything may take before it is killed and recorded as failed."""

    trial_minutes: Annotated[float, Field(gt=0, le=MAX_TRIAL_MINUTES)] = Field(
        720, description="Longest that one attempt at a trial runs."
    )
    experiment_minutes: Annotated[float, Field(gt=0, le=MAX_EXPERIMENT_MINUTES)] | None = Field(
        None, description="Longest from the start of the first trial to the end of the experiment; at most 90 days."
    )


class ExperimentSpec(Spec):
    """An experiment in three phases. Every field but `dataset` has a default."""

    name: str = Field(
        "", max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="Free text to find the experiment again."
    )
    dataset: DatasetName = Field(description="`dermamnist`, `synthetic`, or the name of a registered data set.")
    architectures: tuple[str, ...] = Field(
        STUDY, min_length=1, description="Architectures that Phase 1 screens; thirteen of them unless given."
    )
    class_weights: tuple[str, ...] = Field(("W3",), min_length=1, description="Class weights that Phase 1 screens.")
    weights: Literal["imagenet", "none"] = Field("imagenet", description="Initial weights of the transfer bases.")
    recipe: RecipeName = Field("classic", description="How every network is trained; `GET /v1/catalog` explains them.")
    input_sizes: tuple[Annotated[int, Field(ge=16, le=224)], ...] = Field(
        (),
        max_length=4,
        description="Pixels to which `EffLite_v1` resizes images inside the graph, a trial for each; empty: the data "
        "set's own size, but at least 56.",
    )
    repeats: Annotated[int, Field(ge=1, le=8)] = Field(
        1, description="How often Phase 1 trains each network, with `seed`, `seed` + 1 and so on."
    )
    epochs: Annotated[int, Field(ge=1, le=500)] = Field(30, description="Maximum number of epochs per trial.")
    patience: Annotated[int, Field(ge=1, le=500)] = Field(
        10, description="Stops a trial after so many epochs without a better one."
    )
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(42, description="Seeds weights, shuffling and augmentation.")
    priority: Annotated[int, Field(ge=0, le=9)] = Field(5, description="9 runs first, 0 last.")
    selection: SelectionSpec = SelectionSpec()
    strategies: tuple[str, ...] = Field(tuple(STRATEGIES), description="Fine-tuning strategies that Phase 2 tries.")
    calibration: CalibrationSpec = CalibrationSpec()
    final: FinalModelSpec = FinalModelSpec()
    limits: LimitsSpec = LimitsSpec()
    queue: Literal["cpu", "gpu"] = Field("cpu", description="`gpu` trials wait for a worker with a GPU.")
    promote: Literal["never", "if_better", "always"] = Field(
        "never",
        description="Whether the finished model becomes the champion that answers `/predict`; `if_better` asks that it "
        "beats the champion on the same data set by the setting `PROMOTION_POLICY`.",
    )

    @field_validator(*KNOWN_NAMES)
    @classmethod
    def names_are_in_the_catalog(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = KNOWN_NAMES[str(info.field_name)]
        unknown = [f"unknown {name!r}; {suggestion(name, known)}" for name in names if name not in known]
        if unknown:
            raise ValueError("; ".join(unknown))
        return names

    @field_validator(*KNOWN_NAMES, "input_sizes")
    @classmethod
    def each_appears_once(cls, given: tuple[str | int, ...]) -> tuple[str | int, ...]:
        if len(set(given)) < len(given):
            raise ValueError("each name or size may appear once")
        return given

    @field_validator("input_sizes")
    @classmethod
    def something_resizes(cls, sizes: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if sizes and not set(RESIZING) & set(info.data.get("architectures", RESIZING)):
            raise ValueError(
                f"only {' and '.join(RESIZING)} resizes images; add it to architectures, or leave input_sizes empty"
            )
        return sizes


class Checkpoint(Spec):
    """The best weights of a finished trial, in the store."""

    trial_id: str
    key: str
    sha256: str


class TrialSpec(Spec):
    """One training run: an architecture, its class weight and, in Phase 2, the strategy applied to it."""

    architecture: str
    class_weight: str
    strategy: str | None = None
    learning_rate: float
    dropout: float
    batch_size: int
    unfreeze: Unfreeze
    recipe: RecipeName = "classic"
    input_size: int | None = Field(None, description="Pixels to which the graph resizes; None: the network's own.")
    epochs: int | None = Field(None, description="Fewer epochs than the experiment asks for; None: as many.")
    starts_from: Checkpoint | None = Field(None, description="Whose weights it starts from; else the base's own.")
    seed: int

    def most_epochs(self, experiment_epochs: int) -> int:
        """The number of epochs unless it stops early; `experiment_epochs` are those of its experiment."""
        return self.epochs or experiment_epochs


class TrainedNetwork(Spec):
    """A trial that has ended well, and its weights."""

    name: str
    trial: TrialSpec
    checkpoint: Checkpoint


class FinalSpec(Spec):
    """Phase 3: the winner, not retrained, is exported, calibrated, frozen and tested once.

    `others`: the trials behind the winner, best first, from which an ensemble takes its further members.
    """

    winner: str
    trial: TrialSpec
    checkpoint: Checkpoint
    others: tuple[TrainedNetwork, ...] = ()
