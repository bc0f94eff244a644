"""Figures and names in words, recall first; pages, reports, cards and benchmarks share them."""

from models_store.wording.figures import AT_THE_SAMPLE, FIGURES, FigureRow, figure_rows
from models_store.wording.lesions import OFFICIAL_SPLIT, new_lesions, rest_of_test_set
from models_store.wording.names import DIAGNOSES, selection_rule
from models_store.wording.numbers import (
    against,
    expected_patients,
    interval,
    measured_percent,
    p_value,
    percent,
    probability,
    rate,
    signed,
    target,
)
from models_store.wording.verdicts import Verdict, verdict

# What every template calls these by.
FILTERS = {
    "rate": rate,
    "probability": probability,
    "interval": interval,
    "signed": signed,
    "p_value": p_value,
    "percent": percent,
    "measured_percent": measured_percent,
    "expected_patients": expected_patients,
    "diagnosis": DIAGNOSES.__getitem__,
    "new_lesions": new_lesions,
    "verdict": verdict,
}

__all__ = [
    "AT_THE_SAMPLE",
    "DIAGNOSES",
    "FIGURES",
    "FILTERS",
    "OFFICIAL_SPLIT",
    "FigureRow",
    "Verdict",
    "against",
    "expected_patients",
    "figure_rows",
    "interval",
    "measured_percent",
    "new_lesions",
    "p_value",
    "percent",
    "probability",
    "rate",
    "rest_of_test_set",
    "selection_rule",
    "signed",
    "target",
    "verdict",
]
