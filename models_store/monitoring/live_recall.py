"""The recall of a model on verified lesions, its interval, and a sequential test of the recall it promised.

Benign calls are verified less often than malignant ones, so that the share of hits among verified malignant images
exceeds recall. With the share verified of each label, Begg and Greenes (Biometrics 39:207, 1983) weight each verified
image by one over the share of its label. With two labels that multiplies the odds of a hit by one number, `ratio`, the
share verified of the benign calls over that of the malignant ones. An exact interval of the hits among the verified
malignant images therefore becomes one of recall by the same multiplication. Assumption: within a label, whether an
image is verified does not depend on whether it is malignant. `ratio` is taken as known.

The test is a mixture of likelihood ratios against the hypothesis that recall is at least the target (Robbins, Annals of
Mathematical Statistics 41:1397, 1970). Under it the mixture is a supermartingale that starts at 1, and exceeds 1 / a at
any time with a probability of at most a (Ville, 1939; Ramdas, Gruenwald, Vovk and Shafer, Statistical Science 38:576,
2023). So it may be read after every outcome. It also begins anew with every period of predictions, with a small weight,
so that it also finds a fall of recall after a long good period (Shin, Ramdas and Rinaldo, New England Journal of
Statistics in Data Science 2:229, 2024).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from scipy.stats import binomtest

# With fewer verified images of a label, the share verified says too little for a correction.
MIN_VERIFIED = 30
# Odds of a miss under each alternative, as a multiple of the promised odds, and its weight. Where 0.90 is promised, 1.9
# is a recall of 0.83, which finds a fall to 0.80 soonest, and 1.25 one of 0.88, which finds small falls later.
ALTERNATIVES = ((1.25, 0.05), (1.9, 0.95))
WEIGHT_OF_WHOLE = 0.95  # of the test that begins with the first period; later ones share the rest
MAX_EVIDENCE = 1e300
CONFIDENCE = 0.95  # of a promise that states none


@dataclass(frozen=True)
class Calls:
    """Images that a model gave one label, those of them that are verified, and those of these that are malignant."""

    images: int = 0
    verified: int = 0
    malignant: int = 0

    def __add__(self, other: "Calls") -> "Calls":
        return Calls(self.images + other.images, self.verified + other.verified, self.malignant + other.malignant)

    @property
    def share(self) -> float | None:
        return self.verified / self.images if self.images else None


@dataclass(frozen=True)
class Period:
    """The predictions of one stretch of time, by the label that the model gave."""

    malignant: Calls = field(default_factory=Calls)
    benign: Calls = field(default_factory=Calls)

    def __add__(self, other: "Period") -> "Period":
        return Period(self.malignant + other.malignant, self.benign + other.benign)

    @property
    def hits(self) -> int:
        return self.malignant.malignant

    @property
    def misses(self) -> int:
        return self.benign.malignant

    @property
    def is_enough(self) -> bool:
        return min(self.malignant.verified, self.benign.verified) >= MIN_VERIFIED

    @property
    def ratio(self) -> float:
        """The share verified of benign calls over that of malignant ones. Needs verified images of both labels."""
        return (self.benign.verified * self.malignant.images) / (self.benign.images * self.malignant.verified)


@dataclass(frozen=True)
class Estimate:
    """Recall with its exact interval, both corrected; `among_verified` is the uncorrected share of hits."""

    recall: float
    low: float
    high: float
    among_verified: float


@dataclass(frozen=True)
class LiveRecall:
    """What the outcomes of one model show.

    `target_recall` is None without a promise. `alert_at` is the evidence that puts the promise in doubt.
    """

    malignant: Calls
    benign: Calls
    estimate: Estimate | None
    target_recall: float | None
    confidence: float
    evidence: float | None
    alert_at: float

    @property
    def is_in_doubt(self) -> bool:
        return self.evidence is not None and self.evidence >= self.alert_at


def live_recall(periods: Sequence[Period], target_recall: float | None, confidence: float | None) -> LiveRecall:
    """The figures of a model from its periods, oldest first. False alarms are as rare as `confidence` says."""
    total, confidence = sum(periods, Period()), confidence or CONFIDENCE
    return LiveRecall(
        malignant=total.malignant,
        benign=total.benign,
        estimate=estimate(total, confidence),
        target_recall=target_recall,
        confidence=confidence,
        evidence=None if target_recall is None else evidence(periods, target_recall),
        alert_at=1 / (1 - confidence),
    )


def estimate(total: Period, confidence: float) -> Estimate | None:
    """Recall with Clopper and Pearson's interval (Biometrika 26:404, 1934).

    None where too few images of a label are verified, or none of them is malignant.
    """
    malignant = total.hits + total.misses
    if not total.is_enough or not malignant:
        return None
    share = total.hits / malignant
    limits = binomtest(total.hits, malignant).proportion_ci(confidence, method="exact")
    recall, low, high = (_corrected(float(each), total.ratio) for each in (share, limits.low, limits.high))
    return Estimate(recall, low, high, among_verified=share)


def evidence(periods: Sequence[Period], target_recall: float) -> float | None:
    """The evidence of all periods, oldest first, against a recall of at least `target_recall`.

    Above 1 / a it raises the alert; the probability that a model that keeps its promise ever does so is at most a.
    None where too few images are verified for any part of the test.
    """
    since, known = Period(), []
    for number in range(len(periods) - 1, -1, -1):
        since += periods[number]
        if since.is_enough:
            known.append(_weight(number) * likelihood_ratio(since.hits, since.misses, target_recall, since.ratio))
    return min(math.fsum(known), MAX_EVIDENCE) if known else None


def likelihood_ratio(hits: int, misses: int, target_recall: float, ratio: float = 1.0) -> float:
    """The mixture over the alternatives against a recall of exactly the target, whatever the order of outcomes."""
    outcomes, promised = hits + misses, ratio * (1 - target_recall) / target_recall
    logs = [
        math.log(weight) + misses * math.log(multiple) + outcomes * math.log((1 + promised) / (1 + multiple * promised))
        for multiple, weight in ALTERNATIVES
    ]
    largest = max(logs)
    whole = largest + math.log(math.fsum(math.exp(each - largest) for each in logs))
    return math.exp(min(whole, math.log(MAX_EVIDENCE)))


def _weight(number: int) -> float:
    """Of the test that begins with this period; all of them sum to 1."""
    return WEIGHT_OF_WHOLE if number == 0 else (1 - WEIGHT_OF_WHOLE) / (number * (number + 1))


def _corrected(share: float, ratio: float) -> float:
    return share * ratio / (share * ratio + (1 - share))
