"""Decision curve: whether acting on the probabilities does more good than treating everybody or nobody."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.contract.figures import NetBenefit

THRESHOLDS = tuple(percent / 100 for percent in range(1, 51))


def decision_curve(probabilities: NDArray[np.float64], malignant: NDArray[Any]) -> tuple[NetBenefit, ...]:
    """Net benefit per image of probabilities (N,) at threshold probabilities from 1 % to 50 %.

    True positives less false positives, each of which counts as the odds of the threshold probability: a threshold of
    10 % accepts nine extra biopsies for one cancer found. At the prevalence of the sample. Vickers and Elkin, Medical
    Decision Making 26:565 (2006).
    """
    is_malignant = np.asarray(malignant).astype(bool)
    return tuple(
        NetBenefit(
            threshold=threshold,
            model=_net_benefit(probabilities >= threshold, is_malignant, threshold),
            treat_all=_net_benefit(np.ones_like(is_malignant), is_malignant, threshold),
        )
        for threshold in THRESHOLDS
    )


def _net_benefit(called: NDArray[np.bool_], malignant: NDArray[np.bool_], threshold: float) -> float:
    return float(np.mean(called & malignant) - np.mean(called & ~malignant) * threshold / (1 - threshold))
