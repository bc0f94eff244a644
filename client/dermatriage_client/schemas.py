"""The answers of the service: the schemas of its HTTP API, which the server and this client share."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from dermatriage_client import examples

Item = TypeVar("Item")
Status = Literal["queued", "running", "succeeded", "failed", "cancelling", "cancelled"]
TrialStatus = Literal["queued", "running", "succeeded", "failed", "cancelling", "cancelled", "collapsed", "pruned"]
Label = Literal["malignant", "benign"]
ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")
Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]
# E-mail addresses, numbers of six or more digits (also with separators), and dates.
IDENTIFYING = re.compile(r"\S@\S|\d(?:[ ./-]?\d){5,}")


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the moment is outside the calendar") from error


def _in_the_past(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + timedelta(days=1):
        raise ValueError("it lies in the future")
    return moment


def _without_identifiers(text: str) -> str:
    if IDENTIFYING.search(text):
        raise ValueError("it holds what looks like an e-mail address, a date or a number of six or more digits")
    return text


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]


class Page(BaseModel, Generic[Item]):
    """Items and, unless they are the last, the cursor of the page after them."""

    items: list[Item]
    next_cursor: str | None = Field(description="Send it back as `cursor` for the next page; null at the end.")


class FailureRead(BaseModel):
    """Why something failed."""

    model_config = ConfigDict(extra="ignore")

    kind: str = "Failed"
    message: str = ""


class WaitingRead(BaseModel):
    """The place of an experiment that waits for its first trial to start."""

    position: int = Field(ge=1, description="1 is the next of its queue to start.", examples=[2])
    expected_start: datetime | None = Field(
        description="If every trial ahead trains all its epochs and the slowest networks win; null where no worker "
        "listens to the queue, or where it is not known how long the trials ahead take.",
        examples=["2026-01-05T11:02:40Z"],
    )


class GuaranteeRead(BaseModel):
    """What the threshold promises; `sentence` puts it into words."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": examples.GUARANTEE})

    holds: bool = Field(description="False where the promise is void or was never given.")
    kind: Literal["confidence", "expectation", "none"]
    target_recall: float | None
    confidence: float | None
    positives: int = Field(description="Malignant lesions (images where lesions are unknown) that calibrated it.")
    allowed_misses: int | None
    seen_misses: int
    sentence: str


class IntervalRead(BaseModel):
    """A 95 % interval."""

    low: float
    high: float


class ConfusionRead(BaseModel):
    """Counts of images; malignant is the positive class."""

    tn: int
    fp: int
    fn: int
    tp: int


class TestFigures(BaseModel):
    """The figures of the frozen model on the test set at its threshold; null where a class is absent.

    The card, the report and `GET /v1/models/{version}` show further figures, which are also kept here.
    """

    model_config = ConfigDict(extra="allow")
    __test__ = False  # not a test class, whatever pytest makes of its name

    recall: float | None
    specificity: float | None
    precision: float | None
    f1: float | None
    f2: float | None
    roc_auc: float | None
    pr_auc: float | None
    confusion: ConfusionRead
    intervals: dict[str, IntervalRead | None] = Field({}, description="95 % intervals by the name of the figure.")


class PromotionDecision(BaseModel):
    """Whether the finished model became champion, and why. The figures are null if nothing was compared."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"example": examples.PROMOTION})

    promoted: bool
    reason: str = Field(description="The rule and the figures of both models on the test set.")
    policy: str | None = Field(None, description="The setting `PROMOTION_POLICY`, the rule of the comparison.")
    champion: str | None = Field(None, description="Version of the champion that it was compared with.")
    figures: dict[str, float] | None = Field(None, description="Figures of the finished model that were compared.")
    champion_figures: dict[str, float] | None = None

    @property
    def sentence(self) -> str:
        return f"{'Promoted' if self.promoted else 'Not promoted'}: {self.reason}."


class ResultRead(BaseModel):
    """The result of an experiment that succeeded."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": examples.RESULT})

    winner: str = Field(description="Name of the trial whose network became the model.")
    model_version: str
    threshold: float = Field(description="An image with at least this probability is called malignant.")
    guarantee: GuaranteeRead
    test: TestFigures
    promotion: PromotionDecision | None = Field(
        None, description="Null where the experiment requests no promotion, and in older records."
    )
    warnings: list[str] = Field([], description="What limits the figures, and trials that failed or collapsed.")


class ExperimentRead(BaseModel):
    """An experiment and its progress."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": examples.EXPERIMENT_ID,
                "status": "succeeded",
                "phase": 3,
                "progress": 1.0,
                "spec": examples.SPEC,
                "attempts": 6,
                "submitted_by": "clinic",
                "created_at": "2026-01-05T09:30:00Z",
                "started_at": "2026-01-05T09:30:01Z",
                "finished_at": "2026-01-05T11:02:40Z",
                "waiting": None,
                "result": examples.RESULT,
                "error": None,
            }
        }
    )

    id: str
    status: Status
    phase: int = Field(ge=0, le=3, description="0 before the first, 3 while and after the winner is tested.")
    progress: float = Field(ge=0, le=1, description="Share of the experiment that is done; only a retry moves it back.")
    spec: dict[str, Any] = Field(description="The experiment as posted, with every default filled in.")
    attempts: int = Field(description="Trials started, including those that were started again.")
    submitted_by: str | None = Field(
        None,
        description="Name of the API key that submitted it; null where keys are off, and in older records.",
    )
    created_at: datetime
    started_at: datetime | None = Field(description="When its first trial started; null while it is queued.")
    finished_at: datetime | None
    waiting: WaitingRead | None = Field(
        None,
        description="Its place in the queue; null unless it is queued, and in the answer to a submission.",
    )
    result: ResultRead | None = Field(description="Winner, threshold, guarantee and test figures, recall first.")
    error: FailureRead | None


class AnswerEstimate(BaseModel):
    """The cost of one answer of the finished model, without the rest of a request."""

    network_runs: int = Field(
        description="How often an answer runs a network, at most: views x members. Its cost is that of one network "
        "with one view, times this number.",
        examples=[24],
    )
    shortest_milliseconds: float | None = Field(
        description="If the fastest networks win; null where one of them was not measured.", examples=[9.1]
    )
    longest_milliseconds: float | None = Field(description="If the slowest networks win.", examples=[40.0])
    machines: list[str] = Field(description="The machines of the measurement.", examples=[["AMD EPYC, 2 CPUs"]])
    machine_was_busy: bool = Field(
        description="Whether other programs kept a machine busy during the measurement; the figures are then too high.",
        examples=[False],
    )


class Estimate(BaseModel):
    """How long an experiment takes if every trial trains all its epochs, and what its model's answers cost."""

    shortest_seconds: float | None = Field(
        description="If the fastest networks win; null where `unknown` names a network.", examples=[900.0]
    )
    longest_seconds: float | None = Field(description="If the slowest networks win.", examples=[1600.0])
    trials: int = Field(description="Of all three phases.", examples=[4])
    slots: int = Field(description="Trials that the workers run at once; 0 counts as one.", examples=[1])
    ahead: int = Field(0, description="Experiments of its queue that go before it.", examples=[2])
    starts_in_seconds: float | None = Field(
        None,
        description="When its first trial starts, if every trial ahead trains all its epochs and the slowest networks "
        "win; null where no worker listens to its queue, or where it is not known how long the experiments ahead take.",
        examples=[5400.0],
    )
    from_records: list[str] = Field(
        description="Networks with recorded epochs on this data set with this recipe.", examples=[["CNN_v1"]]
    )
    from_table: list[str] = Field(
        description="Networks whose epochs were measured on `machines` and scaled to the data set.",
        examples=[["ConvNet_v1", "EffLite_v1"]],
    )
    unknown: list[str] = Field(description="Networks without any measurement.", examples=[[]])
    machines: list[str] = Field(examples=[["AMD EPYC, 2 CPUs"]])
    notes: list[str] = Field(description="What makes measurements of the table less certain.", examples=[[]])
    answer: AnswerEstimate


class EpochRead(BaseModel):
    """One epoch, as it was recorded when it ended."""

    model_config = ConfigDict(from_attributes=True)

    number: int
    metrics: dict[str, Any] = Field(examples=[examples.METRICS])
    seconds: float
    eligible: bool = Field(description="Whether it reached the specificity that the selection requires.")
    best: bool = Field(description="Whether it was the best so far.")
    created_at: datetime


class TrialRead(BaseModel):
    """One training run, or the final evaluation."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "id": "trl_0d9c8b7a6f5e4d3c2b1a0f9e8d7c6b5a",
                "experiment_id": examples.EXPERIMENT_ID,
                "phase": 1,
                "position": 0,
                "name": "CNN_v1-W3",
                "kind": "train",
                "queue": "cpu",
                "status": "succeeded",
                "spec": {"architecture": "CNN_v1", "class_weight": "W3", "learning_rate": 0.001, "seed": 42},
                "attempts": 1,
                "worker": "gpu-1:4711",
                "epochs_done": 24,
                "best_epoch": 14,
                "metrics": examples.METRICS,
                "environment": {"keras": "3.15.0", "backend": "tensorflow"},
                "error": None,
                "created_at": "2026-01-05T09:30:00Z",
                "started_at": "2026-01-05T09:30:02Z",
                "finished_at": "2026-01-05T09:41:17Z",
                "epochs": None,
            }
        },
    )

    id: str
    experiment_id: str
    phase: int
    position: int
    name: str
    kind: Literal["train", "finalize"]
    queue: str
    status: TrialStatus
    spec: dict[str, Any]
    attempts: int
    worker: str | None
    epochs_done: int
    best_epoch: int | None
    metrics: dict[str, Any] | None
    environment: dict[str, Any] | None
    error: FailureRead | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    epochs: list[EpochRead] | None = Field(None, description="Null where epochs were not requested.")


class TrialList(BaseModel):
    """Every trial of an experiment, in the order of its phases."""

    items: list[TrialRead]


class ComparedExperiment(BaseModel):
    """One of several experiments that are compared."""

    id: str
    name: str
    status: Status
    seed: int
    first: str | None = Field(description="The trial that is first on the selection images, with its figure.")
    winner: str | None
    model_version: str | None = Field(description="Null before there is a model, and once it was deleted.")
    test_set: str | None = Field(description="sha256 of the data set; results on different ones are not comparable.")
    threshold: float | None
    test: dict[str, float | None] | None = Field(description="Figures of the test set, recall first.")


class ComparedSetting(BaseModel):
    """A setting that differs, with its value in each experiment."""

    field: str
    values: list[Any]


class ComparedTrial(BaseModel):
    """A trial by its name, with its status and selection figures in each experiment that has it."""

    name: str
    results: list[dict[str, Any] | None]


class Spread(BaseModel):
    """One test figure over several runs."""

    runs: int
    mean: float
    standard_deviation: float | None = Field(description="Of a sample; null for a single run.")
    lowest: float
    highest: float


class SeedGroup(BaseModel):
    """Experiments whose settings differ in the seed alone."""

    experiments: list[str]
    seeds: list[int]
    figures: dict[str, Spread]


class ExperimentComparison(BaseModel):
    """Experiments side by side; lists of values are in the order of `experiments`."""

    model_config = ConfigDict(json_schema_extra={"example": examples.COMPARISON})

    experiments: list[ComparedExperiment]
    settings: list[ComparedSetting]
    trials: list[ComparedTrial]
    groups: list[SeedGroup]


class ClassWeightRead(BaseModel):
    """Weights of the classes in the loss; without weights both are 1."""

    name: str = Field(examples=["W3"])
    benign: float = Field(examples=[1.0])
    malignant: float = Field(examples=[3.0])


class SharedLesionsRead(BaseModel):
    """Lesions that the splits of a data set share, which make test figures better than on new lesions."""

    model_config = ConfigDict(from_attributes=True)

    lesions: int = Field(description="Lesions with images in more than one split.", examples=[991])
    val_images: int = Field(description="Validation images whose lesion is also in train.", examples=[344])
    test_images: int = Field(description="Test images whose lesion is also in train.", examples=[695])


class MadeFrom(BaseModel):
    """The data set that a split was made from, and the seed that made it."""

    dataset: str = Field(examples=["clinic"])
    sha256: str = Field(examples=["0" * 64])
    split: Literal["new_lesions"]
    seed: int = Field(examples=[0])


class DatasetRead(BaseModel):
    """A data set an experiment may name; `counts` is known once the file is in the store."""

    name: str = Field(examples=["dermamnist"])
    source: Literal["official", "synthetic", "registered"] = Field(examples=["official"])
    synthetic: bool = Field(examples=[False])
    sha256: str | None = Field(None, examples=[None])
    image_size: int | None = Field(None, examples=[28])
    counts: dict[str, Any] | None = Field(None, examples=[None])
    shared_lesions: SharedLesionsRead | None = Field(
        None, description="Lesions on two sides of the split; null where lesion ids are unknown.", examples=[None]
    )
    notice: str | None = Field(
        None,
        description="What limits figures on it, such as generated images or lesions on two sides of the split; null if "
        "nothing is known to.",
        examples=["The images are generated: figures on them say nothing about skin."],
    )
    made_from: MadeFrom | None = Field(None, description="Null unless it was made by a split.", examples=[None])


class DatasetList(BaseModel):
    """Every data set an experiment may name, registered ones last."""

    items: list[DatasetRead]


class NewSplit(BaseModel):
    """Which of the possible splits to make: the same seed makes the same one."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"seed": 0}})

    seed: int = Field(0, ge=0, le=2**32 - 1)


class Catalog(BaseModel):
    """Architectures, strategies, recipes, class weights, policies, presets and data sets by name."""

    architectures: list[dict[str, Any]] = Field(
        examples=[[examples.ARCHITECTURE]],
        description="Phase 1 screens these.",
    )
    strategies: list[dict[str, Any]] = Field(
        examples=[[examples.STRATEGY]], description="Phase 2 applies these to the winner of Phase 1."
    )
    recipes: list[dict[str, Any]] = Field(
        [],
        examples=[[examples.RECIPE]],
        description="How every network of an experiment is trained; empty where the server has only the classic one.",
    )
    class_weights: list[ClassWeightRead]
    selection_policies: list[str] = Field(examples=[examples.SELECTION_POLICIES])
    calibration_policies: list[str] = Field(examples=[examples.CALIBRATION_POLICIES])
    presets: dict[str, dict[str, Any]] = Field(
        examples=[examples.PRESETS], description="Partial experiments; add a `dataset` and post them."
    )
    datasets: list[DatasetRead]
    disclaimer: str = Field(examples=[examples.DISCLAIMER])


class WarningRead(BaseModel):
    """A reason to trust the answer less; `code` is stable, for programs."""

    model_config = ConfigDict(from_attributes=True)

    code: str = Field(examples=["enlarged"])
    message: str = Field(examples=["The image of 20 x 20 pixels was enlarged to 28 x 28; detail is missing."])


class Explanation(BaseModel):
    """A heatmap: red where covering the image lowers the probability of malignant, blue where it raises it."""

    method: Literal["occlusion"]
    png_base64: str = Field(description="PNG, 224 x 224 pixels.", examples=["iVBORw0KGgo…"])
    strongest_change: float = Field(description="Largest mean change of the probability at any pixel.", examples=[0.2])
    milliseconds: float = Field(description="Time that the heatmap took.", examples=[60.0])


class DiagnosisRead(BaseModel):
    """One of the seven diagnoses, and how probable it is."""

    diagnosis: str = Field(description="MedMNIST's short name.", examples=["mel"])
    name: str = Field(description="The full name.", examples=["melanoma"])
    malignant: bool = Field(examples=[True])
    probability: float = Field(ge=0, le=1, examples=[0.24])


class Prediction(BaseModel):
    """One image, classified by one model at its threshold: malignant if the probability reaches it."""

    prediction_id: str = Field(examples=["prd_7d8e9fa0b1c24d3e8f7a6b5c4d3e2f10"])
    label: Label
    probability_malignant: float = Field(ge=0, le=1, examples=[0.37])
    threshold: float = Field(examples=[0.31])
    model_version: str = Field(examples=[examples.VERSION])
    dataset: str = Field(examples=["dermamnist"])
    guarantee: dict[str, Any] = Field(examples=[examples.GUARANTEE], description="What the threshold promises.")
    diagnoses: list[DiagnosisRead] | None = Field(
        None,
        description="The probability of each diagnosis, in the order of DermaMNIST's classes; null where the model "
        "predicts none. The three malignant ones sum to `probability_malignant`. The label comes from that sum and the "
        "threshold, not from the most probable diagnosis. They are not recorded.",
        examples=[examples.DIAGNOSES],
    )
    unlikeness: float | None = Field(
        None,
        ge=0,
        description="How far the image's features lie from those of the training images, as a share of the distance "
        "within which 99 % of validation images lie. Above 1 there is the warning `unlike_training`; null where the "
        "model's bundle does not record this distance.",
        examples=[0.41],
    )
    warnings: list[WarningRead]
    explanation: Explanation | None = Field(None, description="Only with `explain=true`.", examples=[None])
    disclaimer: str = Field(examples.DISCLAIMER, examples=[examples.DISCLAIMER])


class PredictionRead(BaseModel):
    """A prediction as it was recorded. The image itself is not kept unless the server's settings say so."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(examples=["prd_7d8e9fa0b1c24d3e8f7a6b5c4d3e2f10"])
    created_at: datetime = Field(examples=["2026-01-05T12:00:00Z"])
    label: Label = Field(examples=["malignant"])
    probability: float = Field(ge=0, le=1, examples=[0.37])
    threshold: float = Field(examples=[0.31])
    model_version: str = Field(examples=[examples.VERSION])
    dataset: str = Field(examples=["dermamnist"])
    image_sha256: str = Field(examples=["0" * 64])
    image_stored: bool = Field(examples=[False])
    warnings: list[str] = Field(description="Codes of the warnings.", examples=[["enlarged"]])
    key_id: str | None = Field(description="Id of the API key that sent the image.", examples=[None])


class Verification(BaseModel):
    """What a lesion turned out to be. `replaces` is the number of the outcome that this one corrects."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": examples.VERIFICATION})

    outcome: Label
    verified_by: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00]*$",
        description="The person, laboratory or method that verified it; never the patient.",
    )
    verified_at: Annotated[Moment, AfterValidator(_in_the_past)]
    note: Annotated[Reason, AfterValidator(_without_identifiers)] | None = Field(
        None,
        description="Free text without anything that identifies a person. What looks like an e-mail address, a date or "
        "a number of six or more digits is refused; names are not recognised.",
    )
    replaces: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class OutcomeRead(BaseModel):
    """A recorded outcome. The one with the highest number counts; earlier ones are kept."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"example": examples.OUTCOME})

    prediction_id: str
    number: int
    current: bool
    outcome: Label
    verified_by: str
    verified_at: datetime
    note: str | None
    recorded_by: str = Field(description="Name of the API key that recorded it.")
    recorded_at: datetime


class OutcomeHistory(BaseModel):
    """The outcomes of one prediction, the current one first; empty before the first."""

    items: list[OutcomeRead]


class BatchLine(BaseModel):
    """One line of a batch's answer: a prediction, or the problem that one image has."""

    index: int = Field(ge=0, examples=[0])
    file: str = Field(description="The name that was sent, cut to 200 printable characters.", examples=["lesion.png"])
    prediction: Prediction | None = None
    problem: dict[str, Any] | None = None


class ModelRead(BaseModel):
    """A packaged, calibrated and tested model. `champion` is the one that answers `/predict`."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "version": examples.VERSION,
                "champion": True,
                "experiment_id": examples.EXPERIMENT_ID,
                "experiment_name": "laptop",
                "seed": 42,
                "winner": "CNN_v1-W3/LowLR",
                "architecture": "CNN_v1",
                "dataset": "dermamnist",
                "dataset_sha256": "0" * 64,
                "synthetic": False,
                "weights": "imagenet",
                "bundle_sha256": "1" * 64,
                "manifest_sha256": "2" * 64,
                "signed_by": "3f1c0d9e8b7a6f5e",
                "threshold": 0.31,
                "calibration": {"threshold": 0.31, "guarantee": examples.GUARANTEE},
                "metrics": examples.RESULT["test"],
                "created_at": "2026-01-05T11:02:40Z",
            }
        },
    )

    version: str
    champion: bool
    experiment_id: str
    experiment_name: str = ""
    seed: int | None = Field(None, description="Seed of its experiment.")
    winner: str
    architecture: str
    dataset: str
    dataset_sha256: str
    synthetic: bool = Field(description="Whether it was trained on generated images.")
    weights: str = Field(description="Initial weights of a transfer base; `none` means random.")
    bundle_sha256: str = Field(description="Identifies what the test set was opened for.")
    manifest_sha256: str = Field(description="Identifies every byte of the bundle.")
    signed_by: str | None = Field(None, description="Id of the key that signed the bundle; null: it is unsigned.")
    threshold: float
    calibration: dict[str, Any]
    metrics: dict[str, Any] = Field(description="Test figures, recall first.")
    created_at: datetime


class ExperimentEnded(BaseModel):
    """The body of the webhook `experiment.ended`. Figures are those of the test set, null without a result."""

    model_config = ConfigDict(json_schema_extra={"example": examples.WEBHOOK})

    type: Literal["experiment.ended"]
    delivery: str = Field(description="The same in every attempt to deliver this webhook, as in `webhook-id`.")
    experiment: str = Field(description="Id of the experiment.")
    experiment_url: str = Field(description="The experiment's page; `PUBLIC_URL` of the settings is its beginning.")
    name: str
    status: Literal["succeeded", "failed", "cancelled"]
    finished_at: datetime | None
    winner: str | None
    model_version: str | None
    recall: float | None
    specificity: float | None
    threshold: float | None
    guarantee: GuaranteeRead | None
    promotion: PromotionDecision | None = None
    error: FailureRead | None


class DifferenceRead(BaseModel):
    """How far a figure of model B exceeds that of model A on the same test images, each at its own threshold."""

    figure: Literal["recall", "specificity", "roc_auc"]
    images: int = Field(description="Test images that the figure counts.", examples=[392])
    only_a: int | None = Field(description="Images that A alone classifies correctly; null for ROC AUC.", examples=[9])
    only_b: int | None = Field(description="Images that B alone classifies correctly; null for ROC AUC.", examples=[21])
    value: float = Field(description="The figure of B minus that of A.", examples=[0.031])
    low: float = Field(description="Lower end of the 95 % interval.", examples=[0.003])
    high: float = Field(description="Upper end of the 95 % interval.", examples=[0.058])
    p_value: float = Field(ge=0, le=1, description="Two-sided, of no difference.", examples=[0.043])
    method: str = Field(description="The test that gave the p-value.", examples=["McNemar, exact"])
    shown: bool = Field(description="Whether the interval excludes 0 and the p-value is below 0.05.", examples=[True])
    sentence: str = Field(
        description="What the images show.",
        examples=[
            "B finds 12 more of the 392 malignant images than A (difference +0.031, 95 % interval +0.003 to +0.058, "
            "McNemar, exact: p = 0.043): more than chance explains."
        ],
    )


class ComparisonRead(BaseModel):
    """Two models, tested on the same images or not."""

    a: str = Field(examples=[examples.VERSION])
    b: str = Field(examples=["mdl_1b2c3d4e5f60718293a4b5c6d7e8f901"])
    same_test_set: bool = Field(examples=[True])
    not_tested: str | None = Field(
        description="Why no difference was tested, such as different test sets; null where `differences` has them.",
        examples=[None],
    )
    differences: list[DifferenceRead] = Field(description="Recall, specificity and ROC AUC; empty if not tested.")


class PromiseInDoubt(BaseModel):
    """The body of the webhook `promise.in_doubt`, sent once for a model: its recall may be below what it promises."""

    model_config = ConfigDict(json_schema_extra={"example": examples.PROMISE_IN_DOUBT})

    type: Literal["promise.in_doubt"]
    delivery: str = Field(description="The same in every attempt to deliver this webhook, as in `webhook-id`.")
    model_version: str
    model_url: str = Field(description="The model's page; `PUBLIC_URL` of the settings is its beginning.")
    raised_at: datetime
    recall: float = Field(description="Live recall, corrected for the shares verified.")
    low: float = Field(description="Lower limit of its exact interval at `confidence`.")
    high: float
    target_recall: float
    confidence: float
    evidence: float = Field(description="Against the promise; the alert is raised at 1 / (1 - confidence).")
    sentences: list[str]


class Why(BaseModel):
    """The reason that the history shows."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"reason": "recall 0.93 against 0.91"}})

    reason: Reason


class PromotionRead(BaseModel):
    """One change of the champion."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "id": 3,
                "version": examples.VERSION,
                "previous": "mdl_1b2c3d4e5f60718293a4b5c6d7e8f901",
                "action": "promote",
                "actor": "local",
                "reason": "recall 0.93 against 0.91",
                "created_at": "2026-01-05T12:00:00Z",
            }
        },
    )

    id: int
    version: str
    previous: str | None
    action: str
    actor: str
    reason: str
    created_at: datetime


class History(BaseModel):
    """Every change of the champion, newest first."""

    items: list[PromotionRead]


class PrunedRead(BaseModel):
    """How much of each kind was removed, or would be."""

    model_config = ConfigDict(from_attributes=True)

    checkpoints: int = Field(examples=[12])
    checkpoint_bytes: int = Field(examples=[9_113_402])
    logs: int = Field(examples=[0])
    events: int = Field(examples=[0])
    predictions: int = Field(examples=[0])


class Health(BaseModel):
    """The process answers."""

    status: str = Field("ok", examples=["ok"])


class Check(BaseModel):
    """One thing the service needs. `refused` names a newer champion that failed its checks."""

    ok: bool = Field(examples=[True])
    detail: str = Field(examples=["mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e answers"])
    refused: str | None = Field(None, examples=[None])


class Readiness(BaseModel):
    """Everything the service needs is there."""

    status: str = Field("ready", examples=["ready"])
    checks: dict[str, Check] = Field(
        examples=[
            {
                "database": {"ok": True, "detail": "answers", "refused": None},
                "broker": {"ok": True, "detail": "answers", "refused": None},
                "model": {"ok": True, "detail": "mdl_8c1f6a0e5b7d4c0f9a3e2d1c0b9a8f7e answers", "refused": None},
            }
        ]
    )
