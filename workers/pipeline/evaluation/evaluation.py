"""Phase 3: the figures of the frozen model and threshold on images that no choice depended on."""

import base64
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from models_store.contract.figures import DiagnosisFigures, Evaluation, Figures, LesionRecall, Miss, PicturedMiss
from models_store.contract.records import ThresholdDecision
from models_store.datasets.labels import CLASS_NAMES, MALIGNANT
from models_store.datasets.layout import Split
from workers.pipeline.evaluation.curves import curve_points
from workers.pipeline.evaluation.decision_curve import decision_curve
from workers.pipeline.evaluation.diagnosis_table import diagnosis_table
from workers.pipeline.evaluation.estimates import calibration_error_by_chance, calibration_error_interval, estimates
from workers.pipeline.evaluation.figures import ScoresMismatch, measure
from workers.pipeline.evaluation.groups import groupings
from workers.pipeline.evaluation.intervals import (
    brier,
    clopper_pearson,
    expected_calibration_error,
    reliability_bins,
)
from workers.pipeline.threshold import malignant_units

# An assumption for PPV and NPV, to be replaced by the reader's own: one lesion in twenty shown is malignant.
ASSUMED_PREVALENCE = 0.05
UNCALIBRATED_THRESHOLD = 0.5
MISSES_SHOWN = 12


def evaluate(
    scores: NDArray[np.float64],
    split: Split,
    decision: ThresholdDecision,
    *,
    train_lesions: Collection[str] | None = None,
    prevalence: float = ASSUMED_PREVALENCE,
    seed: int = 0,
    probabilities: NDArray[np.float64] | None = None,
    columns: Mapping[str, ArrayLike] | None = None,
) -> Evaluation:
    """Evaluate calibrated probabilities (N,) of the split's N images at the calibrated threshold.

    `train_lesions` are the lesions that training saw. `probabilities` (N, 7) of the diagnoses and `columns` of group
    names (N,), from the patients file, add `seven` and `groupings`. The same arguments give the same figures. Raises
    `ScoresMismatch`.
    """
    malignant, threshold = split.malignant.astype(bool), decision.threshold
    if scores.shape != malignant.shape or not np.all((scores >= 0) & (scores <= 1)):
        raise ScoresMismatch(
            f"scores {scores.shape} must be probabilities of {len(malignant)} images; score the split itself"
        )
    lesions = split.lesion_ids

    def figures(kept: NDArray[np.bool_], at: float) -> Figures:
        ids = None if lesions is None else lesions[kept]
        return measure(scores[kept], malignant[kept], at, prevalence=prevalence, lesion_ids=ids, seed=seed)

    everything = np.ones(len(scores), dtype=bool)
    ece = expected_calibration_error(scores, malignant)
    leaking = None if lesions is None or train_lesions is None else np.isin(lesions, sorted(set(train_lesions)))
    return Evaluation(
        **dict(figures(everything, threshold)),
        malignant_images=int(malignant.sum()),
        lesions=None if lesions is None else len(np.unique(lesions)),
        leaking_images=None if leaking is None else int(leaking.sum()),
        leak_free=None if leaking is None or leaking.all() else figures(~leaking, threshold),
        at_half=figures(everything, UNCALIBRATED_THRESHOLD),
        diagnoses=diagnosis_figures(split.labels, scores >= threshold),
        ece=ece,
        brier=brier(scores, malignant),
        reliability=reliability_bins(scores, malignant),
        curve=curve_points(scores, malignant) if 0 < malignant.sum() < len(malignant) else (),
        confident_misses=confident_misses(scores, split.labels, malignant & (scores < threshold)),
        seven=None
        if probabilities is None
        else diagnosis_table(probabilities, split.labels, lesion_ids=lesions, seed=seed),
        groupings=groupings(columns or {}, scores, malignant, threshold),
        ece_interval=calibration_error_interval(scores, malignant, ece, lesion_ids=lesions, seed=seed),
        ece_by_chance=calibration_error_by_chance(scores, lesion_ids=lesions, seed=seed),
        decision_curve=decision_curve(scores, malignant),
        lesion_recall=None if lesions is None else lesion_recall(scores, malignant, lesions, threshold),
        **estimates(scores, malignant, threshold, lesion_ids=lesions, seed=seed),
    )


def lesion_recall(
    scores: NDArray[np.float64], malignant: NDArray[np.bool_], lesion_ids: NDArray[Any], threshold: float
) -> LesionRecall | None:
    """Recall over lesions as `choose_threshold` counts them; None where no image (of N) is malignant."""
    if not malignant.any():
        return None
    called = malignant_units(scores, malignant, lesion_ids) >= threshold
    found, lesions = int(called.sum()), len(called)
    return LesionRecall(found=found, lesions=lesions, recall=found / lesions, interval=clopper_pearson(found, lesions))


def diagnosis_figures(labels: NDArray[np.int64], called: NDArray[np.bool_]) -> tuple[DiagnosisFigures, ...]:
    """Each diagnosis present: melanoma first, the other malignant ones, then the benign ones, each by frequency."""
    present = [_diagnosis(name, called[labels == label]) for label, name in enumerate(CLASS_NAMES) if label in labels]
    return tuple(sorted(present, key=lambda d: (d.diagnosis != "mel", not d.malignant, -d.images)))


def confident_misses(
    scores: NDArray[np.float64], labels: NDArray[np.int64], missed: NDArray[Any], most: int = MISSES_SHOWN
) -> tuple[Miss, ...]:
    """The missed images that the model found least suspicious, the worst first."""
    indices = np.flatnonzero(missed)
    worst = indices[np.argsort(scores[indices], kind="stable")][:most]
    return tuple(Miss(index=int(i), diagnosis=CLASS_NAMES[labels[i]], probability=float(scores[i])) for i in worst)


def _diagnosis(name: str, called: NDArray[np.bool_]) -> DiagnosisFigures:
    malignant = name in MALIGNANT
    right = int(called.sum()) if malignant else int((~called).sum())
    return DiagnosisFigures(
        diagnosis=name,
        malignant=malignant,
        images=len(called),
        called_malignant=int(called.sum()),
        rate=right / len(called),
        interval=clopper_pearson(right, len(called)),
    )


def pictured(misses: Sequence[Miss], images: NDArray[np.uint8]) -> tuple[PicturedMiss, ...]:
    """Each miss with its image, of uint8 (N, S, S, 3); the worst first."""
    return tuple(PicturedMiss(**dict(miss), png=_png(images[miss.index])) for miss in misses)


def _png(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")
