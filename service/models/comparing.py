"""Two models beside each other: their figures with intervals, and paired tests of the differences on one test set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models_store.scoring.paired import Difference, auc_difference, proportion_difference
from models_store.store.bundles import NotInBundle
from models_store.store.scored_test_set import ScoredTestSet
from models_store.store.storage import Storage
from models_store.tables import Model
from models_store.wording import FIGURES, FigureRow, figure_rows, p_value, signed
from service.models.stored import ALTERED, opened

Figure = Literal["recall", "specificity", "roc_auc"]
SIGNIFICANCE = 0.05
TESTS: dict[Figure, str] = {"recall": "McNemar, exact", "specificity": "McNemar, exact", "roc_auc": "DeLong"}
VERBS: dict[Figure, tuple[str, str]] = {"recall": ("finds", "malignant"), "specificity": ("clears", "benign")}
SAME_MODEL = "Both sides are the same model."


class NotTested(LookupError):
    """Why no paired test can be made of two models."""


@dataclass(frozen=True)
class PairedTest:
    """How far the figure of B exceeds that of A on the same images.

    `only_a` and `only_b` count the images that one of the two classifies correctly and the other does not; None for
    ROC AUC.
    """

    figure: Figure
    images: int
    only_a: int | None
    only_b: int | None
    difference: Difference

    @property
    def label(self) -> str:
        return FIGURES[self.figure]

    @property
    def method(self) -> str:
        return TESTS[self.figure]

    @property
    def is_shown(self) -> bool:
        """Whether both the interval and the test exclude that the models are alike."""
        excludes_zero = not self.difference.low <= 0 <= self.difference.high
        return excludes_zero and self.difference.p_value < SIGNIFICANCE

    @property
    def sentence(self) -> str:
        """What the images show, and whether chance explains it."""
        found = self.difference
        numbers = (
            f"difference {signed(found.value)}, 95 % interval {signed(found.low)} to {signed(found.high)}, "
            f"{self.method}: {p_value(found.p_value)}"
        )
        follows = "more than chance explains" if self.is_shown else "no difference can be shown"
        return f"{self._observation()} ({numbers}): {follows}."

    def _observation(self) -> str:
        if self.only_a is None or self.only_b is None:
            change = "higher" if self.difference.value > 0 else "lower"
            return f"The ROC AUC of B is {'equal to' if self.difference.value == 0 else f'{change} than'} that of A"
        verb, kind = VERBS[self.figure]
        net = self.only_b - self.only_a
        if net == 0:
            return f"B {verb} as many of the {self.images:,} {kind} images as A"
        return f"B {verb} {abs(net):,} {'more' if net > 0 else 'fewer'} of the {self.images:,} {kind} images than A"


@dataclass(frozen=True)
class Comparison:
    """`rows` pair the figures of `a` and `b`, recall first; empty where a model lacks them.

    `tests` are empty where `not_tested` gives a reason.
    """

    a: Model
    b: Model
    rows: Sequence[tuple[FigureRow, FigureRow]]
    tests: Sequence[PairedTest]
    not_tested: str | None

    @property
    def same_test_set(self) -> bool:
        return self.a.dataset_sha256 == self.b.dataset_sha256

    @property
    def conclusion(self) -> Sequence[str]:
        """What a reader may conclude, a sentence each, recall first."""
        if self.not_tested is not None:
            return [self.not_tested]
        return [
            f"Both were tested on the same images of {self.a.dataset}.",
            *(test.sentence for test in self.tests),
            "Choosing between them by these figures is selection on the test set.",
        ]


def compare(a: Model, b: Model, storage: Storage) -> Comparison:
    """Reads the kept test scores of both; what prevents a test becomes `not_tested`."""
    complete = all(model.metrics.get("confusion") and model.metrics.get("intervals") for model in (a, b))
    rows = list(zip(figure_rows(a.metrics), figure_rows(b.metrics), strict=True)) if complete else []
    try:
        return Comparison(a, b, rows, _tests(a, b, storage), None)
    except NotTested as reason:
        return Comparison(a, b, rows, (), str(reason))


def _tests(a: Model, b: Model, storage: Storage) -> list[PairedTest]:
    if a.version == b.version:
        raise NotTested(SAME_MODEL)
    if a.dataset_sha256 != b.dataset_sha256:
        raise NotTested(
            f"They were tested on different test sets ({a.dataset} and {b.dataset}), so no figure of one can be "
            "compared with that of the other. Run both experiments on one data set."
        )
    first, second = (_scores(model, letter, storage) for model, letter in ((a, "A"), (b, "B")))
    if not np.array_equal(first.diagnoses, second.diagnoses):
        raise NotTested(
            "The kept test scores of the two list different images although both name the same data set, so no "
            "difference can be tested. Run both experiments again."
        )
    malignant = first.malignant
    if malignant.all() or not malignant.any():
        raise NotTested("The test set lacks malignant or benign images, so no difference can be tested.")
    right = [(of.scores >= model.threshold) == malignant for of, model in ((first, a), (second, b))]
    return [
        _proportions("recall", *(each[malignant] for each in right)),
        _proportions("specificity", *(each[~malignant] for each in right)),
        PairedTest("roc_auc", len(malignant), None, None, auc_difference(first.scores, second.scores, malignant)),
    ]


def _proportions(figure: Figure, a: NDArray[np.bool_], b: NDArray[np.bool_]) -> PairedTest:
    """Of the images of one class (N,): which ones each model classifies correctly."""
    return PairedTest(figure, len(a), int((a & ~b).sum()), int((b & ~a).sum()), proportion_difference(a, b))


def _scores(model: Model, letter: str, storage: Storage) -> ScoredTestSet:
    try:
        with opened(model, storage) as bundle:
            return bundle.test_scores
    except NotInBundle as error:
        raise NotTested(
            f"Both name the same test set, but the bundle of {letter} ({model.version}) keeps no score of each "
            f"test image, so no difference can be tested: {error}. Run its experiment again: new models keep them."
        ) from error
    except ALTERED as error:
        raise NotTested(f"The test scores of {letter} ({model.version}) cannot be read: {error}.") from error
