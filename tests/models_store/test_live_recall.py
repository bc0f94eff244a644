"""Live recall and the sequential test of a promise: exact properties, and the alert on simulated streams."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from models_store.monitoring.live_recall import (
    MAX_EVIDENCE,
    MIN_VERIFIED,
    Calls,
    Period,
    estimate,
    evidence,
    likelihood_ratio,
)

UNHURRIED = settings(deadline=None, max_examples=50)
TARGETS = st.floats(0.5, 0.99)
RATIOS = st.floats(0.05, 5)


def period(hits: int, misses: int, *, verified: int = 1000, images: tuple[int, int] = (1000, 1000)) -> Period:
    return Period(Calls(images[0], verified, hits), Calls(images[1], verified, misses))


def chance_of_miss(recall: float, ratio: float) -> float:
    """That a verified malignant image is a miss, where benign calls are verified `ratio` times as often."""
    return ratio * (1 - recall) / (ratio * (1 - recall) + recall)


@UNHURRIED
@given(target=TARGETS, ratio=RATIOS, outcomes=st.integers(0, 60))
def test_evidence_against_a_promise_that_is_just_kept_is_1_in_expectation(
    target: float, ratio: float, outcomes: int
) -> None:
    miss = chance_of_miss(target, ratio)
    expected = sum(
        binom.pmf(misses, outcomes, miss) * likelihood_ratio(outcomes - misses, misses, target, ratio)
        for misses in range(outcomes + 1)
    )
    assert expected == pytest.approx(1)


@UNHURRIED
@given(target=TARGETS, ratio=RATIOS, outcomes=st.integers(1, 60), better=st.floats(0.01, 0.99))
def test_evidence_against_a_promise_that_is_more_than_kept_falls_in_expectation(
    target: float, ratio: float, outcomes: int, better: float
) -> None:
    miss = chance_of_miss(target + better * (1 - target), ratio)
    expected = sum(
        binom.pmf(misses, outcomes, miss) * likelihood_ratio(outcomes - misses, misses, target, ratio)
        for misses in range(outcomes + 1)
    )
    assert expected < 1


@UNHURRIED
@given(target=TARGETS, ratio=RATIOS, hits=st.integers(0, 500), misses=st.integers(0, 500))
def test_a_miss_raises_the_evidence_and_a_hit_lowers_it(target: float, ratio: float, hits: int, misses: int) -> None:
    before = likelihood_ratio(hits, misses, target, ratio)
    assert (
        likelihood_ratio(hits, misses + 1, target, ratio) > before > likelihood_ratio(hits + 1, misses, target, ratio)
    )


def test_alert_comes_ever_in_at_most_5_percent_of_streams_that_just_keep_the_promise() -> None:
    """Computed exactly over 1,000 outcomes, read after each of them."""
    running, raised = {0: 1.0}, 0.0
    for outcomes in range(1, 1_001):
        following: dict[int, float] = {}
        for misses, chance in running.items():
            following[misses] = following.get(misses, 0.0) + 0.9 * chance
            following[misses + 1] = following.get(misses + 1, 0.0) + 0.1 * chance
        over = {misses for misses in following if likelihood_ratio(outcomes - misses, misses, 0.9) >= 20}
        raised += sum(following[misses] for misses in over)
        running = {misses: chance for misses, chance in following.items() if misses not in over and chance > 1e-12}
    assert 0.02 < raised < 0.05


@UNHURRIED
@given(hits=st.integers(0, 400), misses=st.integers(0, 400), confidence=st.sampled_from([0.9, 0.95, 0.99]))
def test_interval_is_exact_where_every_image_is_verified(hits: int, misses: int, confidence: float) -> None:
    shown = estimate(period(hits, misses), confidence)
    if not hits + misses:
        assert shown is None
        return
    exact = binomtest(hits, hits + misses).proportion_ci(confidence, method="exact")
    assert shown is not None
    assert (shown.low, shown.recall, shown.high) == pytest.approx((exact.low, hits / (hits + misses), exact.high))


@UNHURRIED
@given(
    hits=st.integers(1, 200),
    misses=st.integers(0, 200),
    verified=st.integers(200, 400),
    images=st.tuples(st.integers(400, 5_000), st.integers(400, 5_000)),
)
def test_recall_weights_each_verified_image_by_one_over_the_share_of_its_label(
    hits: int, misses: int, verified: int, images: tuple[int, int]
) -> None:
    shown = estimate(period(hits, misses, verified=verified, images=images), 0.95)
    weighted = (hits * images[0] / verified, misses * images[1] / verified)
    assert shown is not None
    assert shown.recall == pytest.approx(weighted[0] / sum(weighted))
    assert 0 <= shown.low <= shown.recall <= shown.high <= 1


def test_rarely_verified_benign_calls_inflate_recall_and_the_correction_removes_that() -> None:
    """1,000 malignant lesions, 800 of them found; nine of ten malignant calls are verified, and one benign in five."""
    seen = Period(Calls(2_000, 1_800, 720), Calls(4_000, 800, 40))
    shown = estimate(seen, 0.95)
    assert shown is not None
    assert shown.recall == pytest.approx(0.8)
    assert shown.among_verified == pytest.approx(720 / 760)
    assert (evidence([seen], 0.9) or 0) > 20 > likelihood_ratio(720, 40, 0.9)


@pytest.mark.parametrize("few", ["malignant", "benign"])
def test_figure_and_evidence_are_withheld_where_too_few_of_a_label_are_verified(few: str) -> None:
    sizes = {"malignant": MIN_VERIFIED, "benign": MIN_VERIFIED} | {few: MIN_VERIFIED - 1}
    seen = Period(Calls(100, sizes["malignant"], 20), Calls(100, sizes["benign"], 5))
    assert estimate(seen, 0.95) is evidence([seen], 0.9) is None


def test_a_later_fall_is_found_although_a_long_good_time_went_before() -> None:
    good, bad = period(950, 50), period(160, 40)
    assert likelihood_ratio(1_110, 90, 0.9) < 1e-5
    assert (evidence([good, bad], 0.9) or 0) > 20


@UNHURRIED
@given(count=st.integers(1, 40))
def test_evidence_of_all_beginnings_together_is_at_most_1_without_malignant_outcomes(count: int) -> None:
    """Without malignant outcomes the evidence of every beginning is 1, so that the weights sum to at most 1."""
    assert (evidence([period(0, 0)] * count, 0.9) or 0) <= 1 + 1e-12


def test_evidence_stays_finite() -> None:
    worst = period(0, 10**6, verified=10**6, images=(10**6, 10**6))
    assert 1e299 < (evidence([worst], 0.9) or 0) <= MAX_EVIDENCE
    assert math.isfinite(likelihood_ratio(10**7, 0, 0.9))
