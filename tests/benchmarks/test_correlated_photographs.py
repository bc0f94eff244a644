"""The promise about lesions, on a simulated population whose recall is known."""

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import correlated_photographs
from benchmarks.correlated_photographs import CORRELATIONS, HEADING, Population, coverage_of, exceeds

DRAWS = 400


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_counting_each_lesion_once_keeps_the_promise_for_new_lesions(correlation: float) -> None:
    coverage = coverage_of(correlation, 196, by_lesion=True, draws=DRAWS, seed=1)
    assert not exceeds(coverage.below_every, DRAWS)
    assert not exceeds(coverage.below_one, DRAWS)


def test_counting_each_photograph_breaks_its_own_promise_where_photographs_resemble_each_other() -> None:
    coverage = coverage_of(0.9, 196, by_lesion=False, draws=DRAWS, seed=1)
    assert exceeds(coverage.below_photographs, DRAWS)


def test_the_promise_for_lesions_is_none_for_photographs_of_hard_lesions() -> None:
    assert exceeds(coverage_of(0.9, 196, by_lesion=True, draws=DRAWS, seed=1).below_photographs, DRAWS)


@pytest.mark.parametrize(("broken", "shown"), [(0, False), (20, False), (33, False), (36, True), (400, True)])
def test_chance_explains_a_few_more_broken_promises_than_one_in_twenty(broken: int, shown: bool) -> None:
    assert exceeds(broken, DRAWS) is shown


@pytest.mark.parametrize("correlation", CORRELATIONS)
def test_the_recall_computed_is_that_of_a_large_sample(correlation: float) -> None:
    # Given very many lesions and a threshold near the target
    population, threshold = Population(correlation), 0.55
    scores, lesion = population.draw(200_000, np.random.default_rng(2))
    called = scores >= threshold
    share = np.bincount(lesion, weights=called) / np.bincount(lesion)
    # Then each reading of recall agrees within five standard errors
    recalls = population.recalls(threshold)
    assert recalls.every == pytest.approx(np.mean(share == 1), abs=0.006)
    assert recalls.one == pytest.approx(np.mean(share), abs=0.006)
    assert recalls.photographs == pytest.approx(np.mean(called), abs=0.006)
    assert recalls.every <= recalls.one
    assert 1 <= np.bincount(lesion).min() < np.bincount(lesion).max() == correlated_photographs.MAX_PHOTOGRAPHS


def test_the_section_is_replaced_and_the_rest_of_the_page_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Measured on images\n\nKept.\n\n{HEADING}\n\nOld.\n", encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["correlated_photographs", "--draws", "40", "--report", str(page)])
    correlated_photographs.main()
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# Measured on images\n\nKept.\n\n")
    assert text.count(HEADING) == 1
    assert "Old." not in text
