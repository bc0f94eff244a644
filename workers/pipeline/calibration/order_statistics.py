"""How many malignant images a threshold may miss on the calibration set and still keep its promise on new ones."""

import math

from scipy.stats import binom

# 0.1 * 10 is 1.0 but (1 - 0.9) * 10 is not: rounding the rate first keeps such bounds on the right side.
RATE_DIGITS = 12


def miss_rate(target_recall: float) -> float:
    """The false-negative rate, alpha, that a target recall allows."""
    return round(1.0 - target_recall, RATE_DIGITS)


def misses_with_confidence(positives: int, target_recall: float, confidence: float) -> int:
    """Most misses `k` among `positives` such that recall >= target holds with the stated confidence; -1 if none do.

    The threshold at the (k + 1)-th lowest of n independent malignant scores has a true miss rate above alpha with
    probability at most P(Binomial(n, alpha) <= k), whatever the scores' distribution: the umbrella bound of Tong,
    Feng and Li, "Neyman-Pearson classification algorithms and NP receiver operating characteristics", Science
    Advances 4(2), 2018.
    """
    alpha, delta = miss_rate(target_recall), round(1.0 - confidence, RATE_DIGITS)
    # ppf is the least k with cdf(k) >= delta, so the answer is that k or the one before it.
    k = int(binom.ppf(delta, positives, alpha))
    return k if binom.cdf(k, positives, alpha) <= delta else k - 1


def misses_in_expectation(positives: int, target_recall: float) -> int:
    """Most misses `k` among `positives` such that the expected miss rate is at most alpha; -1 if none do.

    Conformal risk control asks (k + 1) / (n + 1) <= alpha for a loss bounded by 1: Angelopoulos, Bates, Fisch, Lei
    and Schuster, "Conformal risk control", ICLR 2024, theorem 1.
    """
    return math.floor(round(miss_rate(target_recall) * (positives + 1), RATE_DIGITS)) - 1


def positives_needed_with_confidence(target_recall: float, confidence: float) -> int:
    """Fewest malignant images for which `misses_with_confidence` allows a threshold: 29 at 0.90, 59 at 0.95."""
    alpha, delta = miss_rate(target_recall), round(1.0 - confidence, RATE_DIGITS)
    positives = max(1, math.floor(math.log(delta) / math.log1p(-alpha)) - 1)
    while misses_with_confidence(positives, target_recall, confidence) < 0:
        positives += 1
    return positives


def positives_needed_in_expectation(target_recall: float) -> int:
    """Fewest malignant images for which `misses_in_expectation` allows a threshold: 9 at 0.90, 19 at 0.95."""
    positives = max(1, math.floor(1.0 / miss_rate(target_recall)) - 2)
    while misses_in_expectation(positives, target_recall) < 0:
        positives += 1
    return positives
