"""Figures and names as people read them, recall first; the card, the report and the results page share them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_store.contract.specs import SelectionPolicy, SelectionSpec
from models_store.datasets.labels import SHORT_NAMES
from models_store.datasets.official import OFFICIAL_NAMES

UNDEFINED = "not defined"

OFFICIAL_SPLIT = (
    "About a third of the test images of DermaMNIST's official split show a lesion that is also in train (Abhishek, "
    "Jain, Hamarneh, Scientific Data 12:196, 2025)"
)

NOT_FOR_NEW_LESIONS = (
    "these figures do not speak for new lesions, on which a network usually does worse; by how much, this test set "
    "cannot tell."
)

DIAGNOSES = {short: published for published, short in SHORT_NAMES.items()}

SELECTION_RULES: dict[SelectionPolicy, str] = {
    "val_recall": "the highest recall among epochs whose specificity is at least {floor:.2f}; ROC AUC breaks ties",
    "val_f2": "the highest F2 among epochs whose specificity is at least {floor:.2f}; ROC AUC breaks ties",
    "specificity_at_recall": "the highest specificity at the target recall; ROC AUC breaks ties",
    "val_recall_unguarded": "the highest recall, regardless of specificity",
}

FIGURES = {
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "precision": "Precision",
    "f1": "F1",
    "f2": "F2 (recall weighs twice)",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC (average precision)",
    "partial_auc": "Partial ROC AUC above a recall of 0.8 (at most 0.2)",
    "ppv": "Positive predictive value",
    "npv": "Negative predictive value",
}
AT_THE_SAMPLE = tuple(name for name in FIGURES if name not in ("ppv", "npv"))


@dataclass(frozen=True)
class FigureRow:
    """One figure in words; `count` is empty where the figure is not a share of images."""

    name: str
    label: str
    value: str
    interval: str
    count: str

    @property
    def cell(self) -> str:
        """All of it in one cell, such as `0.916 (0.884 to 0.941; 359 of 392)`."""
        return f"{self.value} ({self.interval}{f'; {self.count}' if self.count else ''})"


def figure_rows(figures: Mapping[str, Any], names: Sequence[str] = AT_THE_SAMPLE) -> list[FigureRow]:
    """The named figures of a recorded `Figures`, each with its 95 % interval."""
    counts = figure_counts(figures["confusion"])
    return [
        FigureRow(name, FIGURES[name], rate(figures[name]), interval(figures["intervals"][name]), counts.get(name, ""))
        for name in names
    ]


def figure_counts(confusion: Mapping[str, int]) -> dict[str, str]:
    """The three rates as counts of images, such as `359 of 392`."""
    tn, fp, fn, tp = (confusion[name] for name in ("tn", "fp", "fn", "tp"))
    return {
        "recall": f"{tp:,} of {tp + fn:,}",
        "specificity": f"{tn:,} of {tn + fp:,}",
        "precision": f"{tp:,} of {tp + fp:,}",
    }


def selection_rule(spec: SelectionSpec) -> str:
    """How the best epoch and network are chosen."""
    return SELECTION_RULES[spec.policy].format(floor=spec.min_specificity)


@dataclass(frozen=True)
class Verdict:
    """A sentence on the guarantee and the test set; `tone` is its colour on a page: good, careful or bad."""

    sentence: str
    tone: str


def verdict(guarantee: Mapping[str, Any], test: Mapping[str, Any]) -> Verdict:
    """Whether the threshold of a recorded `Guarantee` was validly calibrated, and what recall the test set showed."""
    target, recall, limits = guarantee["target_recall"], test["recall"], test["intervals"]["recall"]
    if guarantee["holds"]:
        calibrated, tone = "Validly calibrated", "good"
    else:
        calibrated, tone = "No recall is promised" if target is None else "Not validly calibrated", "bad"
    if recall is None or limits is None:
        sentence = f"{calibrated}; the test set has no malignant image to check the recall on."
        return Verdict(sentence, "careful" if tone == "good" else tone)
    measured = f"{calibrated}; recall on the test set is {rate(recall)}"
    if target is None:
        return Verdict(f"{measured} ({interval(limits)}).", tone)
    side = "below" if recall < target else "above" if recall > target else "at"
    includes = limits["low"] <= target <= limits["high"]
    if tone == "good" and side == "below":
        tone = "careful" if includes else "bad"
    still = ("still includes" if side == "below" else "includes") if includes else "excludes"
    return Verdict(
        f"{measured}, {side} the target of {_target(target)}, which its interval ({interval(limits)}) {still}.", tone
    )


def _target(share: float) -> str:
    """At least two decimals, and as many as it was given with."""
    return max(f"{share:.2f}", f"{share:g}", key=len)


def new_lesions(test: Mapping[str, Any], dataset: str) -> str:
    """Whether the figures of a recorded `Evaluation` speak for lesions that training never saw; if not, what would."""
    leaking, images = test["leaking_images"], test["images"]
    grouped = f"make a lesion-grouped data set with `dermatriage dataset split {dataset} --seed 0`"
    if leaking == 0:
        return "Every test lesion is new to the network."
    if leaking is not None:
        return (
            f"{leaking:,} of {images:,} test images show a lesion that training saw: {NOT_FOR_NEW_LESIONS} To measure "
            f"it, {grouped} and run the experiment on it."
        )
    with_ids = f"To measure it, put a lesions file beside the data set, {grouped} and run the experiment on it."
    if dataset in OFFICIAL_NAMES:
        return f"{OFFICIAL_SPLIT}: {NOT_FOR_NEW_LESIONS} {with_ids}"
    return (
        "It is unknown whether these figures speak for new lesions, on which a network usually does worse: without "
        f"lesion ids nobody can tell how many test images show a lesion that training saw. {with_ids}"
    )


def rest_of_test_set(test: Mapping[str, Any]) -> str:
    """What the figures without leaking images are, and are not."""
    return (
        f"The part of the test set without such lesions, {test['leak_free']['images']:,} images; not an estimate for "
        "new lesions, because lesions photographed once are easier."
    )


def rate(value: float | None) -> str:
    """Three decimals, which is finer than any interval of a few thousand images."""
    return UNDEFINED if value is None else f"{value:.3f}"


def probability(value: float) -> str:
    """Four decimals; what rounds to 0 or 1 without being it is said to lie beyond."""
    if 0 < value < 0.00005:
        return "< 0.0001"
    return "> 0.9999" if 0.99995 <= value < 1 else f"{value:.4f}"


def signed(difference: float) -> str:
    """Three decimals with their sign; what rounds to zero has a plus."""
    return f"{round(difference, 3) + 0.0:+.3f}"


def p_value(value: float) -> str:
    if value < 0.001:
        return "p < 0.001"
    return "p > 0.999" if value > 0.999 else f"p = {value:.3f}"


def interval(limits: Mapping[str, float] | None, decimals: int = 3) -> str:
    return UNDEFINED if limits is None else f"{limits['low']:.{decimals}f} to {limits['high']:.{decimals}f}"


def percent(share: float) -> str:
    """As many digits as a person chose, such as 97.5 %."""
    return f"{100 * share:.4g} %"


def measured_percent(share: float) -> str:
    """One decimal, for a share of images that was counted."""
    return f"{100 * share:.1f} %"


def expected_patients(number: float | None) -> str:
    """Of a thousand: whole patients, and one decimal below ten."""
    if number is None:
        return UNDEFINED
    return f"{number:.1f}" if round(number, 1) < 10 else f"{number:.0f}"


# What every template calls these by.
FILTERS = {
    "rate": rate,
    "probability": probability,
    "interval": interval,
    "signed": signed,
    "p_value": p_value,
    "percent": percent,
    "measured_percent": measured_percent,
    "expected_patients": expected_patients,
    "diagnosis": DIAGNOSES.__getitem__,
    "new_lesions": new_lesions,
    "verdict": verdict,
}
