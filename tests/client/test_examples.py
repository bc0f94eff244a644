"""The examples in the client's schemas, beside the server's own catalogue."""

from dataclasses import asdict
from typing import get_args

import pytest

from dermatriage_client import examples
from dermatriage_client.schemas import DiagnosisRead, Prediction
from models_store.contract.catalog import ARCHITECTURES, DISCLAIMER, PRESETS, STRATEGIES
from models_store.contract.recipes import RECIPES
from models_store.contract.specs import CalibrationPolicy, ExperimentSpec, SelectionPolicy
from models_store.datasets.labels import CLASS_NAMES, MALIGNANT
from models_store.wording import DIAGNOSES


def test_disclaimer_is_the_one_of_the_server() -> None:
    assert examples.DISCLAIMER == DISCLAIMER
    assert Prediction.model_fields["disclaimer"].default == DISCLAIMER


def test_architecture_and_strategy_are_those_of_the_catalogue() -> None:
    assert {"family": "custom_cnn", **asdict(ARCHITECTURES["CNN_v1"])} == examples.ARCHITECTURE
    assert asdict(STRATEGIES["LowLR"]) == examples.STRATEGY


def test_recipe_is_that_of_the_catalogue() -> None:
    assert asdict(RECIPES["classic"]) == examples.RECIPE


def test_policies_and_presets_are_those_of_the_catalogue() -> None:
    assert list(get_args(SelectionPolicy)) == examples.SELECTION_POLICIES
    assert list(get_args(CalibrationPolicy)) == examples.CALIBRATION_POLICIES
    assert examples.PRESETS == PRESETS


def test_spec_is_the_laptop_preset_with_every_default() -> None:
    spec = ExperimentSpec.model_validate({"dataset": "dermamnist", **PRESETS["laptop"]})

    assert spec.model_dump(mode="json") == examples.SPEC


def test_diagnoses_are_those_of_the_data_set_and_sum_to_the_example_of_the_probability() -> None:
    shown = [DiagnosisRead.model_validate(each) for each in examples.DIAGNOSES]

    assert [(each.diagnosis, each.name, each.malignant) for each in shown] == [
        (name, DIAGNOSES[name], name in MALIGNANT) for name in CLASS_NAMES
    ]
    assert sum(each.probability for each in shown) == pytest.approx(1)
    (probability,) = Prediction.model_fields["probability_malignant"].examples or ()
    assert sum(each.probability for each in shown if each.malignant) == pytest.approx(probability)
