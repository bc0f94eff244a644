"""Likelihood ratios, calibration and net benefit in words; report, card and plots share them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_store.wording.numbers import interval, percent, rate, signed

SHOWN_THRESHOLDS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
LIKELIHOOD_RATIOS = {
    "positive_likelihood_ratio": (
        "Positive likelihood ratio",
        "how many times as often a malignant image is called malignant as a benign one; multiplies the odds before",
    ),
    "negative_likelihood_ratio": (
        "Negative likelihood ratio",
        "the same for being called benign; near 0 is good",
    ),
}
CALIBRATION = {
    "calibration_intercept": (
        "Calibration intercept",
        "0 is right; above 0 probabilities are too low on the whole, below 0 too high",
    ),
    "calibration_slope": (
        "Calibration slope",
        "1 is right; below 1 probabilities are too extreme, above 1 too moderate",
    ),
}


@dataclass(frozen=True)
class EstimateRow:
    """One estimate in words, and how to read it."""

    label: str
    value: str
    interval: str
    meaning: str


def likelihood_rows(test: Mapping[str, Any]) -> list[EstimateRow]:
    """Both likelihood ratios of a recorded `Evaluation`; empty for an older record."""
    return _estimate_rows(test, LIKELIHOOD_RATIOS)


def calibration_rows(test: Mapping[str, Any]) -> list[EstimateRow]:
    """Error, intercept and slope of the probabilities of a recorded `Evaluation`; empty for an older record."""
    if test.get("ece_interval") is None:
        return []
    chance = f"0 is best; calibrated probabilities stay below {rate(test['ece_by_chance'])} in 95 % of such test sets"
    error = EstimateRow("Expected calibration error (ECE)", rate(test["ece"]), interval(test["ece_interval"]), chance)
    return [error, *_estimate_rows(test, CALIBRATION)]


def net_benefit_rows(test: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Some points of a recorded decision curve: threshold probability, model, treating all."""
    return [
        (percent(point["threshold"]), signed(point["model"]), signed(point["treat_all"]))
        for point in test.get("decision_curve", ())
        if point["threshold"] in SHOWN_THRESHOLDS
    ]


def net_benefit_sentence(test: Mapping[str, Any]) -> str:
    """Where acting on the probabilities is worth more than treating all and than treating none."""
    better = [p["threshold"] for p in test["decision_curve"] if p["model"] > max(p["treat_all"], 0)]
    if not better:
        return "At no threshold probability is the model worth more than treating all or none."
    return (
        f"The model is worth more than treating all and treating none at {len(better)} of the "
        f"{len(test['decision_curve'])} threshold probabilities, from {percent(better[0])} to {percent(better[-1])}."
    )


def _estimate_rows(test: Mapping[str, Any], named: Mapping[str, tuple[str, str]]) -> list[EstimateRow]:
    return [
        EstimateRow(label, f"{test[name]['value']:.2f}", interval(test[name]["interval"], decimals=2), meaning)
        for name, (label, meaning) in named.items()
        if test.get(name) is not None
    ]
