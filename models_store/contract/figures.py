"""The figures of a model on images, as they are measured, stored and shown."""

from models_store.contract.specs import Record


class Interval(Record):
    """A two-sided confidence interval."""

    low: float
    high: float


class Confusion(Record):
    """Counts of images; malignant is the positive class."""

    tn: int
    fp: int
    fn: int
    tp: int


class Figures(Record):
    """Figures of `malignant iff p >= threshold`; None where a class is absent and the figure has no meaning.

    `partial_auc` is the area under the ROC curve above a recall of 0.8, at most 0.2. `ppv` and `npv` are at the stated
    `prevalence`, not at the sample's. Intervals are 95 %: exact (Clopper-Pearson, each image counted) for recall,
    specificity and precision, bootstrap over lesions where known (else images) for the rest.
    """

    recall: float | None
    specificity: float | None
    precision: float | None
    f1: float | None
    f2: float | None
    roc_auc: float | None
    pr_auc: float | None
    partial_auc: float | None
    confusion: Confusion
    ppv: float | None
    npv: float | None
    prevalence: float
    threshold: float
    images: int
    intervals: dict[str, Interval | None]


class CurvePoint(Record):
    """The rates if every image at or above `threshold` is called malignant."""

    threshold: float
    recall: float
    false_positive_rate: float
    precision: float


class ReliabilityBin(Record):
    """Images of similar probability: the mean that was predicted beside the share that was malignant."""

    images: int
    predicted: float
    observed: float
    interval: Interval


class DiagnosisFigures(Record):
    """One diagnosis: the share called rightly (sensitivity if malignant, specificity if benign)."""

    diagnosis: str
    malignant: bool
    images: int
    called_malignant: int
    rate: float
    interval: Interval


class Estimate(Record):
    """A figure with its 95 % interval; no interval where many resamples leave the figure undefined."""

    value: float
    interval: Interval | None


class NetBenefit(Record):
    """True positives less weighted false positives, per image, of treatment from a threshold probability on.

    `model` treats by its probabilities, `treat_all` treats every image; treating none has a net benefit of 0.
    """

    threshold: float
    model: float
    treat_all: float


class Miss(Record):
    """A malignant image called benign, by its index in the test split."""

    index: int
    diagnosis: str
    probability: float


class PicturedMiss(Miss):
    """A miss with its image as base64 of a PNG."""

    png: str


class DiagnosisTable(Record):
    """How often the most probable of the seven diagnoses is the right one.

    `confusion[i][j]` counts images of diagnosis i called j, in the order of `diagnoses`. `macro_auc` is the mean ROC
    AUC of each diagnosis against the rest, as in MedMNIST; None where a diagnosis is absent.
    """

    diagnoses: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    accuracy: float
    accuracy_interval: Interval
    macro_auc: float | None
    macro_auc_interval: Interval | None


class GroupFigures(Record):
    """Recall and specificity on images of one group; None where it holds no malignant, or no benign, image.

    `enough` is false where it holds too few of either to say anything.
    """

    group: str
    malignant_images: int
    benign_images: int
    recall: float | None
    recall_interval: Interval | None
    specificity: float | None
    specificity_interval: Interval | None
    enough: bool


class Grouping(Record):
    """The groups by one column of the patients file; the largest gaps among groups with enough images."""

    column: str
    groups: tuple[GroupFigures, ...]
    largest_recall_gap: float | None
    largest_specificity_gap: float | None


class LesionRecall(Record):
    """Recall as a guarantee on lesions counts it: one is found if each malignant image of it is called malignant.

    The interval is 95 %, exact (Clopper-Pearson) over lesions.
    """

    found: int
    lesions: int
    recall: float
    interval: Interval


class Evaluation(Figures):
    """Everything that the report and the card say of the test set; recall comes first.

    `leak_free` repeats the figures on images whose lesion is not in train; it and `lesion_recall` are None without
    lesion ids, the latter also without malignant images.
    `at_half` repeats them at the uncalibrated threshold 0.5. `seven` only where the network predicts
    diagnoses, `groupings` only where a patients file lies beside the data set. Likelihood ratios are those of the
    threshold. Calibrated probabilities have an error below `ece_by_chance` in 95 % of such test sets.
    `calibration_intercept` (slope fixed at 1; 0 is right) and `calibration_slope` (1 is right) are of a logistic
    recalibration on the log-odds. Records of version 0.1 lack everything that has a default.
    """

    malignant_images: int
    lesions: int | None
    leaking_images: int | None
    leak_free: Figures | None
    at_half: Figures
    diagnoses: tuple[DiagnosisFigures, ...]
    ece: float
    brier: float
    reliability: tuple[ReliabilityBin, ...]
    curve: tuple[CurvePoint, ...]
    confident_misses: tuple[Miss, ...]
    seven: DiagnosisTable | None = None
    groupings: tuple[Grouping, ...] = ()
    positive_likelihood_ratio: Estimate | None = None
    negative_likelihood_ratio: Estimate | None = None
    ece_interval: Interval | None = None
    ece_by_chance: float | None = None
    calibration_intercept: Estimate | None = None
    calibration_slope: Estimate | None = None
    decision_curve: tuple[NetBenefit, ...] = ()
    lesion_recall: LesionRecall | None = None
