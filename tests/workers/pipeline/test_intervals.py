"""Intervals checked against published values, scikit-learn and repeated experiments."""

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from workers.pipeline.evaluation.curves import areas, curve_points, rank
from workers.pipeline.evaluation.intervals import bootstrap, clopper_pearson

Floats = NDArray[np.float64]


def a_sample(images: int = 2005, seed: int = 0, levels: int | None = None) -> tuple[Floats, NDArray[np.bool_]]:
    random = np.random.default_rng(seed)
    malignant = random.uniform(size=images) < 0.2
    scores = np.where(malignant, random.beta(4, 2, images), random.beta(2, 4, images))
    return (scores if levels is None else np.round(scores * levels) / levels), malignant


def auc_intervals(scores: Floats, malignant: NDArray[np.bool_], **options: object) -> dict[str, object]:
    ranking = rank(scores, malignant)
    return dict(bootstrap(lambda weights: areas(ranking, weights), len(scores), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 10, 0.1871, 0.8129), (359, 392, 0.8838, 0.9413)],
)
def test_clopper_pearson_gives_the_published_values(successes: int, trials: int, low: float, high: float) -> None:
    interval = clopper_pearson(successes, trials)
    assert [interval.low, interval.high] == pytest.approx([low, high], abs=2e-4)


def test_interval_of_no_trials_is_zero_to_one() -> None:
    assert (clopper_pearson(0, 0).low, clopper_pearson(0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=r"^k"):
        clopper_pearson(successes, trials)


@pytest.mark.parametrize("levels", [None, 5, 1])
def test_areas_equal_those_of_scikit_learn_with_and_without_ties(levels: int | None) -> None:
    scores, malignant = a_sample(levels=levels)
    found = areas(rank(scores, malignant), np.ones((1, len(scores))))
    assert found["roc_auc"][0] == pytest.approx(roc_auc_score(malignant, scores))
    assert found["pr_auc"][0] == pytest.approx(average_precision_score(malignant, scores))


def test_weights_mean_repetitions() -> None:
    scores, malignant = a_sample(300, levels=20)
    weights = np.random.default_rng(1).integers(0, 4, (3, 300))
    found = areas(rank(scores, malignant), weights)
    for row, repetitions in enumerate(weights):
        s, y = np.repeat(scores, repetitions), np.repeat(malignant, repetitions)
        assert found["roc_auc"][row] == pytest.approx(roc_auc_score(y, s))
        assert found["pr_auc"][row] == pytest.approx(average_precision_score(y, s))


@pytest.mark.parametrize(
    ("malignant_scores", "benign_scores", "partial"),
    [([0.9, 0.8], [0.2, 0.1], 0.2), ([0.2, 0.1], [0.9, 0.8], 0.0), ([0.5, 0.5], [0.5, 0.5], 0.02)],
)
def test_partial_area_of_a_perfect_a_reversed_and_a_blind_ranking(
    malignant_scores: list[float], benign_scores: list[float], partial: float
) -> None:
    scores = np.array(malignant_scores + benign_scores)
    found = areas(rank(scores, np.array([True, True, False, False])), np.ones((1, 4)))
    assert found["partial_auc"][0] == pytest.approx(partial)


def test_a_sample_of_one_class_has_no_area() -> None:
    found = areas(rank(np.array([0.1, 0.2]), np.array([True, True])), np.ones((1, 2)))
    assert all(np.isnan(value[0]) for value in found.values())


def test_intervals_of_one_class_are_absent() -> None:
    assert auc_intervals(np.linspace(0, 1, 20), np.ones(20, dtype=bool), resamples=50)["roc_auc"] is None


def test_two_thousand_resamples_of_the_test_set_take_seconds() -> None:
    started = time.perf_counter()
    auc_intervals(*a_sample())
    assert time.perf_counter() - started < 10


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    sample = a_sample(300)
    first, again, other = (auc_intervals(*sample, seed=seed, resamples=200) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_the_interval_covers_the_true_area_about_as_often_as_stated() -> None:
    # Given a population whose area is known
    truth = roc_auc_score(*reversed(a_sample(400_000, seed=99)))
    # When 100 samples of 300 images each get a 95 % interval
    covered = []
    for seed in range(100):
        interval = bootstrap_auc(*a_sample(300, seed=seed), seed=seed)
        covered.append(interval[0] <= truth <= interval[1])
    # Then between 88 and 100 hold the truth (three standard errors around 95)
    assert 88 <= sum(covered) <= 100


def test_photographs_of_one_lesion_widen_the_interval() -> None:
    # Given 200 images, and the same ones photographed four times each
    scores, malignant = a_sample(200)
    four, lesions = np.tile(scores, 4), np.tile(np.arange(200), 4)
    by_image = bootstrap_auc(four, np.tile(malignant, 4))
    by_lesion = bootstrap_auc(four, np.tile(malignant, 4), lesion_ids=lesions)
    once = bootstrap_auc(scores, malignant)
    # Then copies add no evidence: drawing lesions gives the interval of the originals, drawing images half its width
    assert by_lesion == pytest.approx(once, abs=1e-9)
    assert np.ptp(by_image) < 0.65 * np.ptp(by_lesion)


def test_a_curve_runs_from_the_highest_threshold_to_calling_everything_malignant() -> None:
    scores, malignant = a_sample()
    points = curve_points(scores, malignant, most=50)
    assert len(points) == 50
    assert (points[-1].recall, points[-1].false_positive_rate) == (1.0, 1.0)
    assert points[-1].precision == pytest.approx(malignant.mean())
    assert [p.recall for p in points] == sorted(p.recall for p in points)
    middle = points[25]
    assert middle.recall == pytest.approx(np.mean(scores[malignant] >= middle.threshold))
    assert middle.false_positive_rate == pytest.approx(np.mean(scores[~malignant] >= middle.threshold))


def bootstrap_auc(
    scores: Floats, malignant: NDArray[np.bool_], *, seed: int = 0, lesion_ids: NDArray[np.int64] | None = None
) -> tuple[float, float]:
    ranking = rank(scores, malignant)
    interval = bootstrap(
        lambda weights: areas(ranking, weights), len(scores), seed=seed, resamples=500, lesion_ids=lesion_ids
    )["roc_auc"]
    assert interval is not None
    return interval.low, interval.high
