"""The alert of live recall on simulated streams, few of them."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks import live_recall
from benchmarks.live_recall import HEADING, SCENARIOS, Scenario, draw, follow, measure

STREAMS = 60


def test_a_recall_of_080_is_found_within_150_outcomes_in_most_streams() -> None:
    assert measure(SCENARIOS[0], STREAMS, seed=1).soon > 0.8


def test_alert_before_a_fall_of_recall_is_not_counted_as_found_soon_after_it() -> None:
    found_early = measure(Scenario(0.70, 500, later=0.70, falls_at=400), STREAMS, seed=1)
    assert (found_early.alerts, found_early.soon, found_early.median) == (1.0, 0.0, None)


@pytest.mark.parametrize("verified_benign", [1.0, 0.2])
def test_a_promise_that_is_just_kept_seldom_raises_the_alert(verified_benign: float) -> None:
    scenario = Scenario(0.90, 400, verified_benign=verified_benign)
    assert measure(scenario, STREAMS, seed=1).alerts < 0.15


def test_recall_of_a_large_stream_is_the_true_one_although_benign_calls_are_seldom_verified() -> None:
    scenario = Scenario(0.80, 20_000, verified_malignant=0.9, verified_benign=0.2)
    shown = follow(draw(scenario, np.random.default_rng(0))).shown
    assert shown is not None
    assert shown.recall == pytest.approx(0.8, abs=0.015)
    assert shown.among_verified > 0.93


def test_periods_of_a_stream_add_up_to_all_of_its_lesions() -> None:
    stream = draw(Scenario(0.9, 250), np.random.default_rng(0))
    periods = stream.periods(len(stream.malignant))
    assert [each.hits + each.misses for each in periods] == [100, 100, 50]
    assert sum(each.malignant.images + each.benign.images for each in periods) == len(stream.malignant)


def test_report_replaces_its_section_and_keeps_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\nText.\n\n{HEADING}\n\nstale\n")
    short = tuple(replace(scenario, malignant=120, falls_at=0, later=None) for scenario in SCENARIOS[-2:])
    monkeypatch.setattr(live_recall, "SCENARIOS", short)
    monkeypatch.setattr(sys, "argv", ["live_recall", "--streams", "3", "--report", str(page)])
    live_recall.main()
    text = page.read_text()
    assert text.startswith("# Title\n\nText.\n")
    assert "stale" not in text
    assert text.count("| 90 %, 20 % |") == 2
