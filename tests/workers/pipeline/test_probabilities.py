"""Calibrated probabilities, in an unchanged order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from models_store.contract.records import Method
from models_store.contract.specs import CalibrationSpec
from models_store.scoring.probability_calibration import ProbabilityCalibration, logit, sigmoid
from workers.pipeline.calibration import METHODS, calibrate_probabilities, fit, log_loss_of
from workers.pipeline.evaluation.intervals import brier, expected_calibration_error, reliability_bins
from workers.pipeline.threshold import choose_threshold

Sample = tuple[NDArray[np.float64], NDArray[np.int64]]


def honest(images: int = 3000, seed: int = 0) -> Sample:
    """Outcomes drawn with exactly the probability that is stated."""
    random = np.random.default_rng(seed)
    p = sigmoid(random.normal(-1, 1.5, images))
    return p, (random.uniform(size=images) < p).astype(np.int64)


def distorted(slope: float, intercept: float) -> Sample:
    """Calibrated probabilities passed through the inverse of a known map."""
    p, y = honest()
    return sigmoid((logit(p) - intercept) / slope), y


def test_an_overconfident_network_gets_the_right_temperature() -> None:
    choice = calibrate_probabilities(*distorted(slope=0.4, intercept=0.0))
    assert choice.calibration.slope == pytest.approx(0.4, rel=0.1)
    assert choice.after.ece < choice.before.ece / 3
    assert choice.after.brier < choice.before.brier
    assert choice.cross_validated_log_loss["temperature"] < choice.cross_validated_log_loss["identity"]


def test_a_shifted_network_needs_platt() -> None:
    choice = calibrate_probabilities(*distorted(slope=0.7, intercept=-2.0))
    assert choice.calibration.method == "platt"
    assert choice.calibration.intercept == pytest.approx(-2.0, abs=0.3)
    assert choice.after.ece < 0.03 < choice.before.ece


def test_the_method_chosen_has_the_lowest_cross_validated_loss() -> None:
    choice = calibrate_probabilities(*distorted(slope=0.7, intercept=-2.0))
    losses = choice.cross_validated_log_loss
    assert set(losses) == set(METHODS)
    assert choice.calibration.method == min(losses, key=losses.__getitem__)
    assert choice.after.log_loss == losses[choice.calibration.method]


def test_with_too_few_of_a_class_nothing_is_fitted() -> None:
    p = np.linspace(0.05, 0.95, 40)
    choice = calibrate_probabilities(p, np.repeat([1, 0], [4, 36]))
    assert choice.calibration.method == "identity"
    assert choice.before == choice.after


def test_photographs_of_few_lesions_are_too_few() -> None:
    p, y = honest(images=400)
    few = [f"lesion{i % 4}" if malignant else f"mole{i}" for i, malignant in enumerate(y)]
    assert calibrate_probabilities(p, y, lesion_ids=few).cross_validated_log_loss.keys() == {"identity"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "p", [np.full(60, 0.3), np.repeat([0.9, 0.1], 30), np.repeat([0.1, 0.9], 30), np.repeat([1.0, 0.0], 30)]
)
def test_degenerate_scores_give_a_map_that_still_increases(method: Method, p: NDArray[np.float64]) -> None:
    fitted = fit(method, p, np.repeat([1, 0], 30))
    assert fitted.slope > 0
    assert np.all(np.isfinite(fitted(p)))


@given(
    method=st.sampled_from(("temperature", "platt")),
    slope=st.floats(0.1, 3),
    intercept=st.floats(-3, 3),
    seed=st.integers(0, 9),
)
@settings(max_examples=25, deadline=None)
def test_calibrating_probabilities_first_changes_no_decision(
    method: Method, slope: float, intercept: float, seed: int
) -> None:
    # Given the same scores before and after a strictly increasing map
    p, y = honest(images=500, seed=seed)
    mapped = ProbabilityCalibration(method=method, slope=slope, intercept=intercept)(p)
    # When a threshold is chosen on each
    raw, calibrated = (choose_threshold(s, y, CalibrationSpec()) for s in (p, mapped))
    # Then both call the same images malignant
    np.testing.assert_array_equal(p >= raw.threshold, mapped >= calibrated.threshold)


def test_parameters_go_through_json() -> None:
    p, y = distorted(slope=0.5, intercept=1.0)
    calibration = calibrate_probabilities(p, y).calibration
    stored = ProbabilityCalibration.model_validate_json(calibration.model_dump_json())
    np.testing.assert_array_equal(stored(p), calibration(p))


def test_the_same_seed_gives_the_same_choice() -> None:
    sample = honest(images=300)
    assert calibrate_probabilities(*sample, seed=3) == calibrate_probabilities(*sample, seed=3)


def test_calibration_error_is_the_gap_in_each_bin_by_hand() -> None:
    p, y = np.array([0.1, 0.3, 0.6, 0.8]), np.array([0, 1, 0, 1])
    # Two bins: mean 0.2 against 0.5 seen, and 0.7 against 0.5.
    assert expected_calibration_error(p, y, bins=2) == pytest.approx((0.3 + 0.2) / 2)
    assert brier(p, y) == pytest.approx((0.01 + 0.49 + 0.36 + 0.04) / 4)


def test_bins_hold_equal_numbers_of_images_and_all_of_them() -> None:
    p, y = honest(images=2005)
    bins = reliability_bins(p, y)
    assert len(bins) == 15
    assert {part.images for part in bins} == {133, 134}
    assert sum(part.images for part in bins) == 2005
    assert [part.predicted for part in bins] == sorted(part.predicted for part in bins)
    assert sum(part.interval.low <= part.predicted <= part.interval.high for part in bins) >= 12


def test_fewer_images_than_bins_leave_no_bin_empty() -> None:
    assert [part.images for part in reliability_bins(np.array([0.2, 0.4]), np.array([0, 1]))] == [1, 1]


def test_log_loss_is_defined_where_only_one_class_is_present() -> None:
    assert log_loss_of(np.array([0.5, 0.5]), np.array([1, 1])) == pytest.approx(np.log(2))
