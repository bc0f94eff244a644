"""Latency by views and members: the section of the page, and that every member is in the model that is measured."""

from pathlib import Path

import pytest

from benchmarks.load import Load
from benchmarks.serving import stored
from benchmarks.serving_page import VIEWS_TITLE, section_of, with_section
from benchmarks.serving_views import BASELINE, Final, section
from benchmarks.untrained import Untrained
from models_store.contract.specs import ExperimentSpec
from models_store.experiment.phases import screening

PAGE = "# Page\n\n## CNN_v1\n\nfast\n\n## How it was measured\n\nby clients\n"


def test_section_states_latency_and_its_multiple_of_the_baseline() -> None:
    ensemble = Final.of("best")
    measured = {
        BASELINE: [Load(1.0, [2.0] * 100), Load(1.0, [4.0] * 100)],
        ensemble: [Load(1.0, [20.0] * 90 + [50.0] * 10), Load(1.0, [60.0] * 100)],
    }
    written = section(measured, 2, 1.0, busy_before=0.1)
    assert "| CNN_v1 | 1 | 1 | 3.0 | 3.0 | 1.00 (1.00 to 1.00) |" in written
    best = "`best`: ConvNet_v1 + EffLite_v1 at 56 + EffLite_v1 at 112"
    assert f"| {best} | 8 | 24 | 40.0 | 55.0 | 12 (10 to 15) |" in written


def test_section_is_written_before_the_last_and_replaced_by_the_next_run() -> None:
    first = with_section(PAGE, VIEWS_TITLE, f"## {VIEWS_TITLE}\n\none")
    assert first == PAGE.replace("## How", f"## {VIEWS_TITLE}\n\none\n\n## How")
    again = with_section(first, VIEWS_TITLE, f"## {VIEWS_TITLE}\n\ntwo")
    assert again == first.replace("one", "two")
    assert section_of(again, VIEWS_TITLE) == f"## {VIEWS_TITLE}\n\ntwo"
    assert section_of(PAGE, VIEWS_TITLE) is None


@pytest.mark.slow
# Keras 3.15 asks NumPy 2 for an array that TensorFlow's variables hand over in the older way.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_untrained_ensemble_holds_every_member(tmp_path: Path) -> None:
    others = [Untrained("CNN_v1"), Untrained("ConvNet_v1")]
    _, bundle = stored(tmp_path, Untrained("CNN_v1"), others=others, views=8)
    assert "It runs a network 24 times (8 views, 3 networks)." in (bundle / "card.md").read_text()


@pytest.mark.parametrize("network", [Untrained("EffLite_v1", 84), Untrained("EffLite_v1"), Untrained("CNN_v1")])
def test_an_untrained_network_is_screened_at_its_input_size(network: Untrained) -> None:
    spec = ExperimentSpec.model_validate({"dataset": "few", "class_weights": ["W0"], **network.asked})
    [trial] = screening(spec).values()
    assert Untrained(trial.architecture, trial.input_size) == network
