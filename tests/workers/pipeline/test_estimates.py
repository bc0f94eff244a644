"""Likelihood ratios, recalibration, the interval of the calibration error, and the decision curve."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from models_store.scoring.probability_calibration import logit, sigmoid
from workers.pipeline.evaluation.decision_curve import decision_curve
from workers.pipeline.evaluation.estimates import calibration_error_by_chance, calibration_error_interval, estimates
from workers.pipeline.evaluation.intervals import expected_calibration_error, resampled_calibration_error
from workers.pipeline.evaluation.recalibration import Recalibration

RANDOM = np.random.default_rng(4)
TRUTH = RANDOM.beta(1, 4, 1500)
MALIGNANT = RANDOM.random(1500) < TRUTH


def found(scores: NDArray[np.float64], name: str) -> tuple[float, float, float]:
    estimate = estimates(scores, MALIGNANT, 0.3)[name]
    assert estimate is not None
    assert estimate.interval is not None
    return estimate.interval.low, estimate.value, estimate.interval.high


def test_slope_is_that_of_an_unpenalised_logistic_regression_also_of_a_resample() -> None:
    scores, drawn = sigmoid(2 * logit(TRUTH) + 0.5), RANDOM.integers(0, 3, 1500)
    slopes = Recalibration(scores, MALIGNANT)(np.stack([np.ones(1500), drawn]))["calibration_slope"]
    for slope, weights in zip(slopes, (None, drawn), strict=True):
        regression = LogisticRegression(C=np.inf, tol=1e-8).fit(logit(scores)[:, None], MALIGNANT, weights)
        assert slope == pytest.approx(regression.coef_[0, 0], rel=1e-4)


@pytest.mark.parametrize(("slope", "shift"), [(1.0, 0.0), (2.0, 0.0), (1.0, 0.8)])
def test_recalibration_measures_extreme_and_high_probabilities(slope: float, shift: float) -> None:
    scores = sigmoid(slope * logit(TRUTH) + shift)
    low, value, high = found(scores, "calibration_slope")
    assert low < 1 / slope < high
    assert low < value < high
    low, _, high = found(scores, "calibration_intercept")
    if slope == 1:
        assert low < -shift < high
    assert (low <= 0 <= high) is (slope == 1 and shift == 0)


def test_the_intercept_makes_the_mean_probability_the_share_of_malignant_images() -> None:
    _, intercept, _ = found(sigmoid(logit(TRUTH) + 0.8), "calibration_intercept")
    assert np.mean(sigmoid(logit(TRUTH) + 0.8 + intercept)) == pytest.approx(MALIGNANT.mean(), abs=1e-6)


def test_likelihood_ratios_are_those_of_the_counts() -> None:
    called = TRUTH >= 0.3
    recall, specificity = called[MALIGNANT].mean(), (~called)[~MALIGNANT].mean()
    low, value, high = found(TRUTH, "positive_likelihood_ratio")
    assert value == pytest.approx(recall / (1 - specificity))
    assert low < value < high
    low, value, high = found(TRUTH, "negative_likelihood_ratio")
    assert value == pytest.approx((1 - recall) / specificity)
    assert low < value < high


def test_undefined_estimates_are_none() -> None:
    # Given four images whose probabilities separate the classes, and a threshold that calls one of each class rightly
    separated = estimates(np.array([0.1, 0.2, 0.8, 0.9]), np.array([False, False, True, True]), 0.5)
    assert separated["calibration_slope"] is None
    assert separated["positive_likelihood_ratio"] is None
    # Given one class alone
    assert set(estimates(np.array([0.1, 0.9]), np.array([True, True]), 0.5).values()) == {None}


def test_the_error_of_resamples_is_that_of_the_sample_where_nothing_is_drawn_twice() -> None:
    whole = resampled_calibration_error(TRUTH, MALIGNANT)(np.ones((1, 1500)))
    assert whole[0] == pytest.approx(expected_calibration_error(TRUTH, MALIGNANT))


def test_only_the_error_of_probabilities_that_are_not_calibrated_exceeds_what_chance_gives() -> None:
    for scores, calibrated in ((TRUTH, True), (np.sqrt(TRUTH), False)):
        ece = expected_calibration_error(scores, MALIGNANT)
        interval = calibration_error_interval(scores, MALIGNANT, ece)
        assert 0 <= interval.low <= ece <= interval.high
        assert (ece < calibration_error_by_chance(scores)) is calibrated


def test_photographs_of_one_lesion_leave_more_to_chance() -> None:
    scores = np.repeat(TRUTH[:300], 5)
    each = calibration_error_by_chance(scores)
    assert calibration_error_by_chance(scores, lesion_ids=np.repeat(np.arange(300), 5)) > 1.5 * each


def test_net_benefit_by_hand() -> None:
    scores, malignant = np.array([0.9, 0.15, 0.3, 0.05, 0.05]), np.array([1, 1, 0, 0, 0])
    curve = {point.threshold: point for point in decision_curve(scores, malignant)}
    assert curve[0.2].model == pytest.approx(1 / 5 - 1 / 5 * 0.25)
    assert curve[0.2].treat_all == pytest.approx(2 / 5 - 3 / 5 * 0.25)
    assert curve[0.1].model == pytest.approx(2 / 5 - 1 / 5 / 9)
    assert curve[0.5].model == pytest.approx(1 / 5)
    assert (min(curve), max(curve)) == (0.01, 0.5)
