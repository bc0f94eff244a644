"""Distances of features from those of training images, and unusable stored distributions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models_store.scoring.out_of_distribution import DistributionInvalid, FeatureDistribution, load_distribution
from models_store.scoring.scorer import Scorer
from tests.models_store.test_scoring import a_graph


def a_likeness() -> FeatureDistribution:
    """Wide along the first of three axes, narrow along the others."""
    return FeatureDistribution(
        center=np.array([1.0, 2.0, 3.0]),
        directions=np.eye(3)[:, :1],
        variances=np.array([4.0]),
        remainder=0.25,
        cut=2.0,
    )


@pytest.mark.parametrize(
    ("apart", "squared"), [((0, 0, 0), 0), ((2, 0, 0), 1), ((0, 1, 0), 4), ((0, 0, 1), 4), ((2, 1, 1), 9)]
)
def test_distance_by_hand(apart: tuple[float, ...], squared: float) -> None:
    features = np.array([[1.0, 2.0, 3.0]], np.float32) + np.array([apart], np.float32)
    assert a_likeness().distances(features) == pytest.approx(np.sqrt([squared / 3]))
    assert a_likeness().score(features) == pytest.approx(np.sqrt([squared / 3]) / 2)


def test_a_saved_distribution_gives_the_same_distances(tmp_path: Path) -> None:
    a_likeness().save(tmp_path / "likeness.npz")
    features = np.random.default_rng(0).normal(size=(5, 3))
    loaded = load_distribution(tmp_path / "likeness.npz")
    np.testing.assert_array_equal(loaded.score(features), a_likeness().score(features))


@pytest.mark.parametrize(
    "broken",
    [
        {"cut": float("nan")},
        {"cut": 0.0},
        {"remainder": -1.0},
        {"variances": np.array([0.0])},
        {"variances": np.array([1.0, 1.0])},
        {"center": np.array([np.inf, 0, 0])},
    ],
)
def test_unusable_distribution_is_refused(tmp_path: Path, broken: dict[str, float]) -> None:
    replace(a_likeness(), **broken).save(tmp_path / "likeness.npz")  # type: ignore[arg-type]
    with pytest.raises(DistributionInvalid, match="train it again"):
        load_distribution(tmp_path / "likeness.npz")


def test_file_that_carries_code_or_lacks_an_array_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "likeness.npz"
    for arrays in ({"center": np.array([object()])}, {"center": np.zeros(3)}):
        np.savez(path, **arrays)
        with pytest.raises(DistributionInvalid):
            load_distribution(path)
    path.write_bytes(b"no archive")
    with pytest.raises(DistributionInvalid):
        load_distribution(path)


def test_graph_with_other_features_does_not_match_a_distribution() -> None:
    with pytest.raises(ValueError, match="do not belong together"):
        Scorer(a_graph(), distribution=a_likeness())


def test_graph_without_features_gives_probabilities_and_no_out_of_distribution_scores() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    scorer = Scorer(a_graph())
    probabilities, unlikeness, diagnoses = scorer.judge(images)
    np.testing.assert_array_equal(probabilities, scorer(images))
    assert (unlikeness, diagnoses) == (None, None)
