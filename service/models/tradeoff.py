"""What a threshold does on validation images, and what that means for a thousand patients.

`static/threshold.js` computes the same for the slider; a test holds the two equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
        """Of so many patients, a share `prevalence` of them with cancer: those called benign although they have it."""
        return None if self.recall is None else patients * prevalence * (1 - self.recall)

    def extra_biopsies(self, prevalence: float, patients: int = PATIENTS) -> float | None:
        """Of so many patients: those called malignant although they are not ill."""
        return None if self.specificity is None else patients * (1 - prevalence) * (1 - self.specificity)


def outcome(scores: Sequence[float], malignant: Sequence[bool], threshold: float) -> Outcome:
    """Calls malignant every score that reaches the threshold. Both sequences are of one length N."""
    called = [score >= threshold for score in scores]
    counted = {(ill, call): 0 for ill in (True, False) for call in (True, False)}
    for ill, call in zip(malignant, called, strict=True):
        counted[bool(ill), call] += 1
    return Outcome(counted[True, True], counted[True, False], counted[False, True], counted[False, False])


def stops(scores: Sequence[float], sealed: float) -> list[float]:
    """The thresholds at which anything changes, and the sealed one, ascending: where the slider may stand."""
    return sorted({*scores, sealed})
