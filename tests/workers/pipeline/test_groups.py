"""Recall and specificity by group."""

import numpy as np
import pytest
from numpy.typing import NDArray

from models_store.contract.figures import Grouping
from models_store.wording.groups import gap_sentences
from workers.pipeline.evaluation.figures import ScoresMismatch
from workers.pipeline.evaluation.groups import groupings
from workers.pipeline.evaluation.intervals import clopper_pearson


def by_sex(**counts: tuple[int, int, int, int]) -> Grouping:
    """One column from the malignant images found and missed, and the benign ones cleared and not, of each group."""
    names: list[str] = []
    scores: list[float] = []
    malignant: list[int] = []
    for name, parts in counts.items():
        for images, score, label in zip(parts, (0.9, 0.1, 0.1, 0.9), (1, 1, 0, 0), strict=True):
            names += [name] * images
            scores += [score] * images
            malignant += [label] * images
    return groupings({"sex": names}, np.array(scores), np.array(malignant), 0.5)[0]


def test_figures_of_each_group_by_hand() -> None:
    grouping = by_sex(male=(27, 3, 32, 8), female=(24, 6, 45, 5))
    female, male = grouping.groups
    assert (female.group, female.malignant_images, female.benign_images) == ("female", 30, 50)
    assert (female.recall, female.specificity) == (0.8, 0.9)
    assert (female.recall_interval, male.specificity_interval) == (clopper_pearson(24, 30), clopper_pearson(32, 40))
    assert grouping.largest_recall_gap == pytest.approx(0.1)
    assert grouping.largest_specificity_gap == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("small", "enough", "recall_gap", "specificity_gap"),
    [
        ((20, 0, 20, 0), True, 0.2, 0.1),
        ((19, 0, 20, 0), False, None, 0.1),
        ((20, 0, 19, 0), False, 0.2, None),
        ((0, 0, 20, 0), False, None, 0.1),
    ],
)
def test_a_small_group_is_compared_only_by_the_figure_it_has_enough_images_for(
    small: tuple[int, int, int, int], enough: bool, recall_gap: float | None, specificity_gap: float | None
) -> None:
    grouping = by_sex(female=(24, 6, 45, 5), male=small)
    assert grouping.groups[1].enough is enough
    assert (grouping.largest_recall_gap, grouping.largest_specificity_gap) == (
        recall_gap if recall_gap is None else pytest.approx(recall_gap),
        specificity_gap if specificity_gap is None else pytest.approx(specificity_gap),
    )


def test_a_group_without_a_class_has_no_figure_for_it() -> None:
    (male,) = by_sex(male=(0, 0, 20, 5)).groups
    assert (male.recall, male.recall_interval, male.specificity) == (None, None, 0.8)


def test_people_of_whom_nothing_is_known_are_shown_and_in_no_gap() -> None:
    grouping = by_sex(female=(24, 6, 45, 5), unknown=(10, 20, 40, 10))
    assert [group.group for group in grouping.groups] == ["female", "unknown"]
    assert grouping.largest_recall_gap is None


def test_sentences_name_the_largest_gap_and_the_groups_that_are_too_small() -> None:
    grouping = by_sex(female=(240, 60, 450, 50), male=(291, 9, 440, 60), other=(3, 1, 30, 0)).model_dump()
    assert gap_sentences(grouping) == [
        "The largest gap in recall is 0.170: 0.800 for female and 0.970 for male; their intervals do not overlap.",
        "The largest gap in specificity is 0.120: 0.880 for male and 1.000 for other; their intervals overlap, so "
        "chance may explain it.",
        "other has 4 malignant and 30 benign images: too few to say anything about recall.",
    ]


def test_a_single_large_group_has_no_gap_to_name() -> None:
    sentences = gap_sentences(by_sex(female=(24, 6, 45, 5)).model_dump())
    assert sentences[0] == "Fewer than two groups have 20 malignant images, so no gap in recall is named."


@pytest.mark.parametrize("names", [np.array(["a"]), np.array([["a", "b"]])])
def test_a_column_of_another_length_is_refused(names: NDArray[np.str_]) -> None:
    with pytest.raises(ScoresMismatch, match="column sex"):
        groupings({"sex": names}, np.array([0.1, 0.9]), np.array([0, 1]), 0.5)
