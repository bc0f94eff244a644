"""Paired differences of two models on the same images."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from models_store.scoring.paired import auc_difference, pooled, proportion_difference

RANDOM = np.random.default_rng(5)
MALIGNANT = (RANDOM.random(300) < 0.3).astype(np.int64)
WEAK = np.round(MALIGNANT + RANDOM.normal(0, 1.5, 300), 1)  # rounded, so that scores tie
STRONG = np.round(WEAK + MALIGNANT * 0.8 + RANDOM.normal(0, 0.5, 300), 1)


def wins(scores: np.ndarray) -> np.ndarray:
    """1 where a malignant image (row) scores above a benign one (column), one half where they tie."""
    differences = scores[MALIGNANT == 1][:, None] - scores[MALIGNANT == 0][None, :]
    return (np.sign(differences) + 1) / 2


def test_the_difference_of_areas_and_its_variance_are_those_of_the_definition() -> None:
    difference = wins(STRONG) - wins(WEAK)
    rows, columns = difference.mean(axis=1), difference.mean(axis=0)
    error = np.sqrt(rows.var(ddof=1) / len(rows) + columns.var(ddof=1) / len(columns))

    found = auc_difference(WEAK, STRONG, MALIGNANT)

    assert found.value == pytest.approx(difference.mean(), abs=1e-12)
    assert (found.high - found.low) / 2 == pytest.approx(1.959964 * error, rel=1e-5)
    assert found.low > 0
    assert found.p_value < 0.001


def test_a_model_does_not_differ_from_itself() -> None:
    found = auc_difference(WEAK, WEAK, MALIGNANT)
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_the_interval_covers_the_true_difference_as_often_as_stated() -> None:
    random = np.random.default_rng(8)
    labels = np.repeat([1, 0], [40, 120])
    covered = []
    for _ in range(400):
        shared = labels + random.normal(0, 1, 160)
        first, second = shared + random.normal(0, 1, 160), shared + random.normal(0, 1, 160)
        found = auc_difference(first, second, labels)
        covered.append(found.low <= 0 <= found.high)
    assert 0.92 <= np.mean(covered) <= 0.98


def test_one_class_alone_has_no_area() -> None:
    with pytest.raises(ValueError, match="lacks one of them"):
        auc_difference(WEAK, STRONG, np.ones(300, dtype=np.int64))


def test_the_difference_of_proportions_goes_by_the_images_on_which_the_models_differ() -> None:
    first = np.array([True] * 6 + [False] * 14)
    second = np.array([True] * 4 + [False] * 2 + [True] * 9 + [False] * 5)

    found = proportion_difference(first, second)

    assert found.value == pytest.approx((9 - 2) / 20)
    assert found.p_value == pytest.approx(binomtest(9, 11).pvalue)
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (5, 0), (3, 9), (50, 50), (1500, 1300)])
def test_mcnemars_p_value_is_that_of_the_binomial_test(gained: int, lost: int) -> None:
    first = np.array([True] * lost + [False] * gained + [True])
    expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert proportion_difference(first, np.append(~first[:-1], True)).p_value == pytest.approx(expected)


def test_the_p_value_of_areas_is_that_of_the_normal_distribution() -> None:
    found = auc_difference(WEAK, STRONG, MALIGNANT)
    error = (found.high - found.low) / 2 / norm.ppf(0.975)
    assert found.p_value == pytest.approx(2 * norm.sf(found.value / error), rel=1e-6)


def test_pooling_shrinks_the_interval() -> None:
    one = auc_difference(WEAK, STRONG, MALIGNANT)
    together = pooled([one, one, one])
    assert together.value == pytest.approx(one.value)
    assert together.high - together.low == pytest.approx((one.high - one.low) / np.sqrt(3))
