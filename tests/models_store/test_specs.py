"""The contract at submission: a spec is complete, known and consistent, or refused with a reason."""

from typing import Any

import pytest
from pydantic import ValidationError

from models_store.contract.catalog import PRESETS, STRATEGIES, STUDY
from models_store.contract.specs import ExperimentSpec
from models_store.experiment.phases import screening


def test_data_set_alone_asks_for_the_whole_experiment() -> None:
    spec = ExperimentSpec(dataset="dermamnist")

    assert spec.architectures == STUDY
    assert spec.strategies == tuple(STRATEGIES)
    assert spec.class_weights == ("W3",)
    assert len(spec.architectures) == 13
    assert spec.promote == "never"


def test_only_a_network_that_resizes_is_trained_at_each_input_size() -> None:
    spec = ExperimentSpec(
        dataset="synthetic", architectures=("CNN_v1", "ConvNet_v1", "EffLite_v1"), input_sizes=(56, 112)
    )
    sizes = {name: trial.input_size for name, trial in screening(spec).items()}
    assert sizes == {
        "CNN_v1/W3": None,
        "ConvNet_v1/W3": None,
        "EffLite_v1/W3/56px": 56,
        "EffLite_v1/W3/112px": 112,
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_with_a_data_set_is_a_valid_experiment(preset: str) -> None:
    assert ExperimentSpec(**{**PRESETS[preset], "dataset": "synthetic"}).dataset == "synthetic"


@pytest.mark.parametrize(
    ("posted", "share"),
    [({}, 0.1), ({"source": "validation"}, 0.5), ({"source": "validation", "share": 0.3}, 0.3), ({"share": 0.4}, 0.4)],
)
def test_held_out_share_follows_the_source_unless_given(posted: dict[str, Any], share: float) -> None:
    assert ExperimentSpec(dataset="synthetic", calibration=posted).calibration.share == share


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architectures": ["CNN_v9"]}, "unknown 'CNN_v9'; did you mean `CNN_v"),
        ({"class_weights": ["W7"]}, "unknown 'W7'; choose from W0, W3, W5"),
        ({"strategies": ["Thaw"]}, "unknown 'Thaw'; choose from Freeze10"),
        ({"architectures": ["CNN_v1", "CNN_v1"]}, "each name or size may appear once"),
        ({"architectures": []}, "at least 1 item"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"learning_rate": 0.1}, "Extra inputs are not permitted"),
        ({"calibration": {"policy": "fixed"}}, "needs a threshold"),
        ({"calibration": {"target_recall": 1.0}}, "less than 1"),
        ({"calibration": {"confidence": float("nan")}}, "finite number"),
        ({"dataset": "../secret"}, "lower-case letters, digits"),
        ({"name": "bell\x07"}, "match pattern"),
    ],
)
def test_invalid_experiment_is_refused_with_the_reason(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason.replace("(", r"\(")):
        ExperimentSpec.model_validate({"dataset": "synthetic", **change})
