"""Whether a threshold was validly calibrated, and what recall the test set showed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_store.wording.numbers import interval, rate, target


@dataclass(frozen=True)
class Verdict:
    """A sentence on the guarantee and the test set; `tone` is its colour on a page: good, careful or bad."""

    sentence: str
    tone: str


def verdict(guarantee: Mapping[str, Any], test: Mapping[str, Any]) -> Verdict:
    """Whether the threshold of a recorded `Guarantee` was validly calibrated, and what recall the test set showed.

    Recall is over lesions, like the guarantee, where the recorded `Evaluation` knows them.
    """
    target_recall, of_lesions = guarantee["target_recall"], test.get("lesion_recall")
    if of_lesions is None:
        recall, limits, subject = test["recall"], test["intervals"]["recall"], "recall on the test set is "
    else:
        recall, limits = of_lesions["recall"], of_lesions["interval"]
        subject = (
            f"of {of_lesions['lesions']} malignant lesions of the test set {of_lesions['found']} are called malignant "
            "on every image, "
        )
    if guarantee["holds"]:
        calibrated, tone = "Validly calibrated", "good"
    else:
        calibrated, tone = "No recall is promised" if target_recall is None else "Not validly calibrated", "bad"
    if recall is None or limits is None:
        sentence = f"{calibrated}; the test set has no malignant image to check the recall on."
        return Verdict(sentence, "careful" if tone == "good" else tone)
    measured = f"{calibrated}; {subject}{rate(recall)}"
    if target_recall is None:
        return Verdict(f"{measured} ({interval(limits)}).", tone)
    side = "below" if recall < target_recall else "above" if recall > target_recall else "at"
    includes = limits["low"] <= target_recall <= limits["high"]
    if tone == "good" and side == "below":
        tone = "careful" if includes else "bad"
    still = ("still includes" if side == "below" else "includes") if includes else "excludes"
    against = f"{side} the target of {target(target_recall)}, which its interval ({interval(limits)}) {still}"
    return Verdict(f"{measured}, {against}.", tone)
