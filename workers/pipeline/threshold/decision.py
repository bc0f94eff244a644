"""From scores and labels of the calibration set to one threshold with its record."""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models_store.contract.records import Guarantee, Kind, ThresholdDecision
from models_store.contract.specs import CalibrationPolicy, CalibrationSpec
from models_store.datasets.evidence import TooFewMalignantImages, Unit, require_enough_for
from workers.pipeline.threshold.operating_points import Floats, OperatingPoints, ScoresUnusable, operating_points
from workers.pipeline.threshold.policies import POLICIES, Choice


def choose_threshold(
    scores: ArrayLike, malignant: ArrayLike, spec: CalibrationSpec, *, lesion_ids: ArrayLike | None = None
) -> ThresholdDecision:
    """Choose the threshold of `malignant iff p >= threshold` on the calibration set.

    `scores` (N,) are probabilities of malignant, `malignant` (N,) is 0 or 1, `lesion_ids` (N,) names what each image
    shows. Photographs of one lesion are not independent, and counting each would claim more evidence than there is:
    with ids, a malignant lesion counts once, by its lowest score. Lesions are then independent, and a promise that
    holds for the worst photograph of a new lesion holds for every photograph of it. Compared with one random photograph
    of each lesion it costs 0.4 to 0.9 points of specificity where 196 images show 177 lesions.

    Raises `TooFewMalignantImages` where neither the policy nor the spec's fallback can keep its promise,
    `PrecisionOutOfReach`, and `ScoresUnusable` for arrays that allow no threshold.
    """
    values = np.asarray(scores, dtype=np.float64)
    is_malignant = _as_labels(malignant)
    points = operating_points(values, is_malignant)
    units = malignant_units(values, is_malignant, lesion_ids)
    unit: Unit = "images" if lesion_ids is None else "lesions"
    policy, choice, reasons = _choose(points, units, spec, unit)
    if spec.reuse:
        reasons.append("the threshold was chosen on images that also chose the epoch")
    called = values >= choice.threshold
    true_positives = int(np.sum(called & is_malignant))
    seen_misses = int(np.sum(units < choice.threshold))
    void_reason = "; ".join(reasons) or None
    return ThresholdDecision(
        threshold=choice.threshold,
        policy=policy,
        asked_policy=spec.policy,
        target_recall=spec.target_recall,
        confidence=spec.confidence,
        positives=len(units),
        allowed_misses=choice.allowed_misses,
        seen_misses=seen_misses,
        malignant_images=points.positives,
        benign_images=points.negatives,
        malignant_lesions=None if lesion_ids is None else len(units),
        best_score=choice.best_score,
        margin=choice.margin,
        recall=true_positives / points.positives,
        specificity=float(np.mean(~called[~is_malignant])) if points.negatives else None,
        precision=true_positives / int(called.sum()) if called.any() else None,
        void=void_reason is not None,
        void_reason=void_reason,
        guarantee=_guarantee(policy, choice, len(units), seen_misses, void_reason, spec, unit),
        scores_sha256=scores_sha256(values, is_malignant),
    )


def malignant_units(scores: Floats, malignant: NDArray[np.bool_], lesion_ids: ArrayLike | None) -> Floats:
    """What a guarantee counts: one score a malignant image, or the lowest of each malignant lesion.

    `scores`, `malignant` and `lesion_ids` are of N images. Raises `ScoresUnusable`.
    """
    if lesion_ids is None:
        return scores[malignant]
    ids = np.asarray(lesion_ids)
    if ids.shape != scores.shape:
        raise ScoresUnusable(f"lesion ids {ids.shape} do not match scores {scores.shape}")
    _, lesion = np.unique(ids[malignant], return_inverse=True)
    lowest = np.full(lesion.max() + 1, np.inf)
    np.minimum.at(lowest, lesion, scores[malignant])
    return lowest


def scores_sha256(scores: Floats, malignant: NDArray[np.bool_]) -> str:
    """Hash of the scores (little-endian float64) followed by the labels (one byte each)."""
    digest = hashlib.sha256(np.ascontiguousarray(scores, dtype="<f8").tobytes())
    digest.update(np.ascontiguousarray(malignant, dtype=np.uint8).tobytes())
    return digest.hexdigest()


def _as_labels(malignant: ArrayLike) -> NDArray[np.bool_]:
    labels = np.asarray(malignant)
    if not np.isin(labels, (0, 1)).all():
        raise ScoresUnusable("labels must be 0 (benign) or 1 (malignant)")
    return labels.astype(bool)


def _choose(
    points: OperatingPoints, units: Floats, spec: CalibrationSpec, unit: Unit
) -> tuple[CalibrationPolicy, Choice, list[str]]:
    """The policy of the spec or, if that cannot keep its promise, its fallback with the reason."""
    try:
        require_enough_for(spec.policy, len(units), spec, unit)
    except TooFewMalignantImages as too_few:
        if spec.fallback is None:
            raise
        require_enough_for(spec.fallback, len(units), spec, unit)
        reason = (
            f"{spec.policy} needs {too_few.needed} malignant calibration {unit} and there were {too_few.found}, so "
            f"the fallback {spec.fallback} chose the threshold"
        )
        return spec.fallback, POLICIES[spec.fallback](points, units, spec), [reason]
    return spec.policy, POLICIES[spec.policy](points, units, spec), []


def _guarantee(
    policy: CalibrationPolicy,
    choice: Choice,
    positives: int,
    seen_misses: int,
    void_reason: str | None,
    spec: CalibrationSpec,
    unit: Unit,
) -> Guarantee:
    kind, sentence = promise(policy, unit, spec.target_recall, spec.confidence)
    if choice.allowed_misses is not None:
        sentence += (
            f" The threshold was set on {positives} malignant {unit}: it may miss {choice.allowed_misses} of them, and "
            f"misses {seen_misses}."
        )
    if void_reason is not None:
        sentence = f"The promise asked for is void: {void_reason}." + ("" if spec.reuse else f" {sentence}")
    return Guarantee(
        holds=kind != "none" and void_reason is None,
        kind=kind,
        target_recall=None if kind == "none" else spec.target_recall,
        confidence=spec.confidence if kind == "confidence" else None,
        positives=positives,
        allowed_misses=choice.allowed_misses,
        seen_misses=seen_misses,
        sentence=sentence,
    )


def promise(policy: CalibrationPolicy, unit: Unit, target_recall: float, confidence: float) -> tuple[Kind, str]:
    """The kind of promise a policy makes, and its sentence for a reader who is no statistician."""
    population = f"malignant {unit} like those of the calibration set"
    if policy == "np_sensitivity":
        return "confidence", (
            f"With {100 * confidence:.4g} % confidence, at least {100 * target_recall:.4g} % of {population} are "
            "called malignant."
        )
    if policy == "conformal_risk_control":
        return "expectation", (
            f"On average over calibration sets of this size, at least {100 * target_recall:.4g} % of {population} are "
            "called malignant; for this one set the share may be lower."
        )
    return "none", f"The policy {policy} promises no recall; see the test figures."
