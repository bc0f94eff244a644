"""The threshold, and its promise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models_store.contract.records import ThresholdDecision
from models_store.contract.specs import CalibrationPolicy, CalibrationSpec
from models_store.datasets.evidence import (
    TooFewMalignantImages,
    needed_in_expectation,
    needed_with_confidence,
)
from workers.pipeline.threshold import PrecisionOutOfReach, ScoresUnusable, choose_threshold
from workers.pipeline.threshold.policies import misses_in_expectation, misses_with_confidence

RANKING_POLICIES: tuple[CalibrationPolicy, ...] = (
    "np_sensitivity",
    "conformal_risk_control",
    "recall_at_precision",
    "f_beta",
    "cost",
    "youden",
)
Sample = tuple[NDArray[np.float64], NDArray[np.int64]]


@st.composite
def samples(draw: st.DrawFn, least_malignant: int = 30) -> Sample:
    """Scores on a coarse grid, so that ties within and between the classes are common."""
    malignant = draw(st.integers(least_malignant, 60))
    benign = draw(st.integers(1, 60))
    levels = draw(st.integers(2, 40))
    grid = st.integers(0, levels).map(lambda level: level / levels)
    scores = draw(st.lists(grid, min_size=malignant + benign, max_size=malignant + benign))
    return np.array(scores), np.repeat([1, 0], [malignant, benign])


def a_sample(malignant: int = 196, benign: int = 807, seed: int = 0) -> Sample:
    random = np.random.default_rng(seed)
    scores = np.concatenate([random.beta(4, 2, malignant), random.beta(2, 4, benign)])
    return scores, np.repeat([1, 0], [malignant, benign])


def spec(policy: CalibrationPolicy, **fields: float) -> CalibrationSpec:
    """A spec whose precision floor every sample can reach unless a test sets another."""
    return CalibrationSpec.model_validate({"policy": policy, "min_precision": 1e-6, **fields})


def decisions(calibration: ThresholdDecision, scores: NDArray[np.float64]) -> list[bool]:
    return list(scores >= calibration.threshold)


@pytest.mark.parametrize(
    ("positives", "target", "confidence", "allowed"),
    [(196, 0.90, 0.95, 12), (196, 0.95, 0.95, 4), (29, 0.90, 0.95, 0), (28, 0.90, 0.95, -1), (59, 0.95, 0.95, 0),
     (58, 0.95, 0.95, -1), (1, 0.5, 0.5, 0), (98, 0.90, 0.95, 4), (196, 0.90, 0.5, 18)],
)  # fmt: skip
def test_neyman_pearson_allows_this_many_misses(positives: int, target: float, confidence: float, allowed: int) -> None:
    assert misses_with_confidence(positives, target, confidence) == allowed


@pytest.mark.parametrize(
    ("positives", "target", "allowed"),
    [(196, 0.90, 18), (196, 0.95, 8), (9, 0.90, 0), (8, 0.90, -1), (19, 0.95, 0), (18, 0.95, -1), (99, 0.7, 29)],
)
def test_conformal_risk_control_allows_this_many_misses(positives: int, target: float, allowed: int) -> None:
    assert misses_in_expectation(positives, target) == allowed


RATES = [0.01, 0.3, 0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995]


@pytest.mark.parametrize("target", RATES)
def test_with_as_many_units_as_are_needed_no_miss_is_allowed_and_with_one_less_no_threshold(target: float) -> None:
    for confidence in (0.05, *RATES, 0.999):
        needed = needed_with_confidence(target, confidence)
        assert misses_with_confidence(needed, target, confidence) >= 0
        assert needed == 1 or misses_with_confidence(needed - 1, target, confidence) == -1
    needed = needed_in_expectation(target)
    assert misses_in_expectation(needed, target) >= 0
    assert needed == 1 or misses_in_expectation(needed - 1, target) == -1


@pytest.mark.parametrize(("policy", "misses"), [("np_sensitivity", 12), ("conformal_risk_control", 18)])
def test_allowed_misses_are_used_up_when_no_scores_tie(policy: CalibrationPolicy, misses: int) -> None:
    scores, malignant = a_sample()
    calibration = choose_threshold(scores, malignant, spec(policy))
    assert (calibration.positives, calibration.allowed_misses, calibration.seen_misses) == (196, misses, misses)
    assert calibration.recall == pytest.approx((196 - misses) / 196)
    assert calibration.guarantee.holds
    assert f"it may miss {misses} of them, and misses {misses}." in calibration.guarantee.sentence


@pytest.mark.parametrize("policy", RANKING_POLICIES)
def test_no_malignant_image_is_thrown_away_on_a_perfectly_separable_set(policy: CalibrationPolicy) -> None:
    # Given 196 malignant images that all score above every benign one
    scores = np.concatenate([np.linspace(0.6, 0.9, 196), np.linspace(0.1, 0.4, 100)])
    # When a policy that would allow misses chooses the threshold
    calibration = choose_threshold(scores, np.repeat([1, 0], [196, 100]), spec(policy, min_precision=0.999))
    # Then it misses none, because missing one buys no specificity
    assert (calibration.recall, calibration.specificity, calibration.seen_misses) == (1.0, 1.0, 0)
    assert calibration.threshold == pytest.approx(0.5)


@pytest.mark.parametrize("policy", RANKING_POLICIES)
@given(sample=samples())
@settings(max_examples=20, deadline=None)
def test_no_lower_threshold_has_the_same_specificity_and_a_higher_recall(
    policy: CalibrationPolicy, sample: Sample
) -> None:
    scores, malignant = sample
    calibration = choose_threshold(scores, malignant, spec(policy))
    lower = scores[scores < calibration.threshold]
    benign = scores[malignant == 0]
    assert all(np.mean(benign < score) < calibration.specificity for score in lower)


def test_a_promise_is_kept_on_new_images_as_often_as_stated() -> None:
    # Given a population whose miss rate at a threshold t is exactly t
    random = np.random.default_rng(5)
    draws = random.uniform(size=(600, 196))
    # When a threshold is set on each of 600 independent calibration sets
    labels = np.ones(196, dtype=int)
    missed = np.array([choose_threshold(draw, labels, spec("np_sensitivity")).threshold for draw in draws])
    conformal = np.array([choose_threshold(draw, labels, spec("conformal_risk_control")).threshold for draw in draws])
    # Then at most 5 % of the first kind miss more than 10 % (three Monte-Carlo errors are 0.027)
    assert np.mean(missed > 0.10) <= 0.05 + 0.027
    # and the second kind misses at most 10 % on average, but far more than 5 % of them miss more
    assert conformal.mean() <= 0.10 + 0.003
    assert np.mean(conformal > 0.10) > 0.2


@given(sample=samples(), policy=st.sampled_from(("np_sensitivity", "conformal_risk_control")))
@settings(max_examples=40, deadline=None)
def test_a_guaranteed_policy_never_misses_more_than_allowed_and_less_only_for_ties(
    sample: Sample, policy: CalibrationPolicy
) -> None:
    scores, malignant = sample
    calibration = choose_threshold(scores, malignant, spec(policy))
    assert calibration.allowed_misses is not None
    assert calibration.seen_misses <= calibration.allowed_misses
    positive = np.sort(scores[malignant == 1])
    next_higher = positive[positive > positive[calibration.allowed_misses]]
    if len(next_higher):
        assert np.sum(positive < next_higher[0]) > calibration.allowed_misses


@given(
    sample=samples(least_malignant=60),
    targets=st.tuples(st.floats(0.5, 0.95), st.floats(0.5, 0.95)),
    policy=st.sampled_from(("np_sensitivity", "conformal_risk_control")),
)
@settings(max_examples=40, deadline=None)
def test_a_higher_target_recall_never_raises_the_threshold(
    sample: Sample, targets: tuple[float, float], policy: CalibrationPolicy
) -> None:
    low, high = (choose_threshold(*sample, spec(policy, target_recall=target)).threshold for target in sorted(targets))
    assert high <= low


@given(sample=samples(), confidences=st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)))
@settings(max_examples=25, deadline=None)
def test_a_higher_confidence_never_raises_the_threshold(sample: Sample, confidences: tuple[float, float]) -> None:
    low, high = (choose_threshold(*sample, spec("np_sensitivity", confidence=c)).threshold for c in sorted(confidences))
    assert high <= low


@pytest.mark.parametrize(
    ("policy", "field", "values"),
    [
        ("f_beta", "beta", (0.25, 1.0, 2.0, 8.0)),
        ("cost", "false_negative_cost", (0.2, 1.0, 10.0, 100.0)),
        ("recall_at_precision", "min_precision", (0.6, 0.4, 0.2, 0.01)),
    ],
)
@given(sample=samples())
@settings(max_examples=20, deadline=None)
def test_weighing_recall_more_never_lowers_it(
    policy: CalibrationPolicy, field: str, values: tuple[float, ...], sample: Sample
) -> None:
    recalls = []
    for value in values:
        try:
            recalls.append(choose_threshold(*sample, spec(policy, **{field: value})).recall)
        except PrecisionOutOfReach:
            continue
    assert recalls == sorted(recalls)


@pytest.mark.parametrize("policy", RANKING_POLICIES)
@given(sample=samples(), power=st.sampled_from((0.5, 2.0, 3.0)), scale=st.sampled_from((1.0, 0.5)))
@settings(max_examples=20, deadline=None)
def test_a_strictly_increasing_rescaling_changes_no_decision(
    policy: CalibrationPolicy, sample: Sample, power: float, scale: float
) -> None:
    scores, malignant = sample
    rescaled = scale * scores**power
    before, after = (choose_threshold(s, malignant, spec(policy)) for s in (scores, rescaled))
    assert decisions(before, scores) == decisions(after, rescaled)


@pytest.mark.parametrize("policy", RANKING_POLICIES)
@given(sample=samples(), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_the_order_of_the_images_changes_nothing(policy: CalibrationPolicy, sample: Sample, seed: int) -> None:
    scores, malignant = sample
    shuffled = np.random.default_rng(seed).permutation(len(scores))
    first = choose_threshold(scores, malignant, spec(policy))
    second = choose_threshold(scores[shuffled], malignant[shuffled], spec(policy))
    assert first.threshold == second.threshold


@pytest.mark.parametrize("policy", RANKING_POLICIES)
@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_constant_scores_call_everything_malignant(policy: CalibrationPolicy, score: float) -> None:
    calibration = choose_threshold(np.full(60, score), np.repeat([1, 0], 30), spec(policy))
    assert (calibration.recall, calibration.specificity, calibration.seen_misses) == (1.0, 0.0, 0)
    assert 0 <= calibration.threshold <= score


@pytest.mark.parametrize("policy", [policy for policy in RANKING_POLICIES if policy != "youden"])
def test_malignant_images_alone_suffice_where_the_policy_needs_no_benign_ones(policy: CalibrationPolicy) -> None:
    calibration = choose_threshold(np.linspace(0.1, 0.9, 40), np.ones(40), spec(policy))
    assert calibration.specificity is None
    assert calibration.recall >= 0.9


def test_youden_without_benign_images_is_refused() -> None:
    with pytest.raises(ScoresUnusable, match="needs benign images"):
        choose_threshold(np.linspace(0.1, 0.9, 40), np.ones(40), spec("youden"))


@pytest.mark.parametrize("policy", RANKING_POLICIES)
def test_benign_images_alone_are_refused(policy: CalibrationPolicy) -> None:
    with pytest.raises(ScoresUnusable, match="no malignant image"):
        choose_threshold(np.linspace(0.1, 0.9, 40), np.zeros(40), spec(policy))


@pytest.mark.parametrize(
    ("scores", "malignant", "finding"),
    [
        ([0.1, np.nan], [0, 1], "probabilities"),
        ([0.1, 1.1], [0, 1], "probabilities"),
        ([0.1, 0.2], [0, 2], "0 \\(benign\\) or 1"),
        ([0.1, 0.2], [0, 1, 1], "shape"),
        ([[0.1], [0.2]], [[0], [1]], "shape"),
        ([], [], "no malignant image"),
    ],
)
def test_unusable_arrays_are_refused_with_the_reason(scores: object, malignant: object, finding: str) -> None:
    with pytest.raises(ScoresUnusable, match=finding):
        choose_threshold(np.array(scores), np.array(malignant), spec("cost"))


def test_error_for_too_few_malignant_images_names_the_number_needed() -> None:
    with pytest.raises(TooFewMalignantImages, match=r"at least 59 malignant images .* there are 58"):
        choose_threshold(*a_sample(malignant=58), spec("np_sensitivity", target_recall=0.95))


def test_a_named_fallback_takes_over_and_is_labelled() -> None:
    weaker = CalibrationSpec(policy="np_sensitivity", fallback="conformal_risk_control")
    calibration = choose_threshold(*a_sample(malignant=28), weaker)
    assert (calibration.asked_policy, calibration.policy) == ("np_sensitivity", "conformal_risk_control")
    assert calibration.void
    assert not calibration.guarantee.holds
    assert "needs 29 malignant calibration images and there were 28" in str(calibration.void_reason)
    assert "On average" in calibration.guarantee.sentence


def test_a_fallback_that_cannot_promise_either_is_no_way_out() -> None:
    weaker = CalibrationSpec(policy="np_sensitivity", fallback="conformal_risk_control")
    with pytest.raises(TooFewMalignantImages, match="conformal_risk_control needs at least 9"):
        choose_threshold(*a_sample(malignant=8), weaker)


def test_reusing_the_selection_images_voids_the_guarantee_and_changes_no_threshold() -> None:
    honest, reused = (choose_threshold(*a_sample(), CalibrationSpec(reuse=reuse)) for reuse in (False, True))
    assert (honest.void, reused.void) == (False, True)
    assert not reused.guarantee.holds
    assert "void" in reused.guarantee.sentence
    assert "With 95 %" not in reused.guarantee.sentence
    assert honest.threshold == reused.threshold


def test_photographs_of_one_lesion_count_as_one_by_the_lowest_score() -> None:
    # Given 60 malignant images of 30 lesions, the second photograph of each scored lower
    low, high = np.linspace(0.30, 0.59, 30), np.linspace(0.60, 0.89, 30)
    scores = np.concatenate([high, low, [0.1, 0.2]])
    malignant = np.repeat([1, 0], [60, 2])
    lesions = [f"lesion{i}" for i in (*range(30), *range(30), 98, 99)]
    # When the same images are calibrated with and without their ids
    by_image, by_lesion = (
        choose_threshold(scores, malignant, spec("np_sensitivity"), lesion_ids=i) for i in (None, lesions)
    )
    # Then 60 images could miss one, 30 lesions none
    assert (by_image.positives, by_image.allowed_misses, by_image.malignant_lesions) == (60, 1, None)
    assert (by_lesion.positives, by_lesion.allowed_misses, by_lesion.malignant_lesions) == (30, 0, 30)
    assert by_lesion.malignant_images == 60
    assert by_lesion.threshold == pytest.approx(0.25)
    assert "malignant lesions" in by_lesion.guarantee.sentence


def test_many_photographs_of_few_lesions_do_not_make_a_guarantee() -> None:
    scores, malignant = a_sample(malignant=120, benign=10)
    lesions = [f"lesion{i % 28}" for i in range(130)]
    with pytest.raises(TooFewMalignantImages, match="there are 28"):
        choose_threshold(scores, malignant, spec("np_sensitivity"), lesion_ids=lesions)


def test_ids_of_another_length_are_refused() -> None:
    with pytest.raises(ScoresUnusable, match="lesion ids"):
        choose_threshold(*a_sample(), spec("np_sensitivity"), lesion_ids=["a", "b"])


def test_the_threshold_lies_midway_between_the_deciding_score_and_the_next_lower_one_of_any_class() -> None:
    scores = np.concatenate([np.full(30, 0.8), [0.6, 0.2]])
    calibration = choose_threshold(scores, np.repeat([1, 0], [30, 2]), spec("np_sensitivity"))
    assert calibration.threshold == pytest.approx(0.7)
    assert calibration.margin == pytest.approx(0.1)


def test_float32_rounding_of_any_score_flips_no_decision() -> None:
    scores, malignant = a_sample()
    calibration = choose_threshold(scores, malignant, spec("np_sensitivity"))
    assert calibration.margin > 1e-7
    for noise in (-1e-7, 1e-7):
        assert decisions(calibration, scores) == decisions(calibration, scores + noise)


def test_neighbouring_floats_still_separate() -> None:
    above = np.nextafter(0.5, 1)
    calibration = choose_threshold(np.array([above] * 30 + [0.5]), np.repeat([1, 0], [30, 1]), spec("np_sensitivity"))
    assert (calibration.recall, calibration.specificity) == (1.0, 1.0)


def test_precision_that_no_threshold_reaches_is_refused_with_the_best_there_is() -> None:
    with pytest.raises(PrecisionOutOfReach, match=r"at most 0\.500"):
        choose_threshold(np.full(60, 0.5), np.repeat([1, 0], 30), spec("recall_at_precision", min_precision=0.6))


@pytest.mark.parametrize(
    ("policy", "fields", "threshold", "best_score"),
    [
        ("recall_at_precision", {"min_precision": 0.6}, 0.45, 1.0),
        ("recall_at_precision", {"min_precision": 0.9}, 0.75, 2 / 3),
        ("f_beta", {"beta": 2.0}, 0.45, 15 / 16),
        ("f_beta", {"beta": 0.5}, 0.75, 10 / 11),
        ("cost", {"false_negative_cost": 10}, 0.45, -1 / 6),
        ("cost", {"false_negative_cost": 0.5}, 0.75, -0.5 / 6),
        ("youden", {}, 0.45, 2 / 3),
        ("fixed", {"threshold": 0.25}, 0.25, None),
    ],
)
def test_each_policy_by_hand(
    policy: CalibrationPolicy, fields: dict[str, float], threshold: float, best_score: float | None
) -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.5, 0.4, 0.1])
    malignant = np.array([1, 1, 0, 1, 0, 0])
    calibration = choose_threshold(scores, malignant, spec(policy, **fields))
    assert calibration.threshold == pytest.approx(threshold)
    assert calibration.best_score == (None if best_score is None else pytest.approx(best_score))


@pytest.mark.parametrize("policy", ["recall_at_precision", "f_beta", "cost", "youden"])
def test_sentence_of_a_policy_without_a_promise_states_that(policy: CalibrationPolicy) -> None:
    guarantee = choose_threshold(*a_sample(), spec(policy)).guarantee
    assert (guarantee.holds, guarantee.kind, guarantee.target_recall) == (False, "none", None)
    assert "promises no recall" in guarantee.sentence


def test_the_record_survives_json_and_its_hash_covers_scores_and_labels() -> None:
    scores, malignant = a_sample()
    calibration = choose_threshold(scores, malignant, CalibrationSpec())
    assert ThresholdDecision.model_validate_json(calibration.model_dump_json()) == calibration
    nudged, flipped = scores.copy(), malignant.copy()
    nudged[0] += 1e-12
    flipped[0] = 0
    others = [
        choose_threshold(nudged, malignant, CalibrationSpec()),
        choose_threshold(scores, flipped, CalibrationSpec()),
    ]
    assert len({calibration.scores_sha256, *(other.scores_sha256 for other in others)}) == 3
