"""Members are chosen on the selection split: another kind first, and none that makes the average worse."""

import numpy as np
import pytest

from workers.pipeline.ensemble import greedy

MALIGNANT = (np.arange(400) % 4 == 0).astype(np.int64)


def scores(signal: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=len(MALIGNANT))
    return np.asarray(1 / (1 + np.exp(-(signal * MALIGNANT + noise))))


def test_one_of_another_kind_comes_before_a_better_one_of_the_same_kind() -> None:
    networks = [scores(2.0, 1), scores(2.0, 2), scores(1.6, 3)]

    assert greedy(networks, ["CNN_v1", "CNN_v1", "ConvNet_v1"], MALIGNANT, 2) == [0, 2]
    assert set(greedy(networks, ["CNN_v1", "CNN_v1", "ConvNet_v1"], MALIGNANT, 3)) == {0, 1, 2}


def test_network_that_makes_the_average_worse_stays_out_whatever_its_kind() -> None:
    networks = [scores(2.0, 1), 1 - scores(2.0, 2)]

    assert greedy(networks, ["CNN_v1", "ResNet_v1"], MALIGNANT, 2) == [0]


@pytest.mark.parametrize("most", [1, 2, 5])
def test_first_network_is_always_in_and_the_number_is_bounded(most: int) -> None:
    networks = [scores(2.0, seed) for seed in range(4)]

    chosen = greedy(networks, ["CNN_v1"] * 4, MALIGNANT, most)

    assert chosen[0] == 0
    assert len(chosen) == len(set(chosen)) <= min(most, 4)
