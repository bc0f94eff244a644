"""Figures in words."""

import pytest

from models_store.wording import new_lesions


@pytest.mark.parametrize(
    ("leaking", "said"),
    [
        (0, "Every test lesion is new to the network."),
        (
            695,
            "695 of 2,005 test images show a lesion that training saw: these figures do not speak for new lesions; "
            "make a lesion-grouped data set with `dermatriage dataset split ham10000_28 --seed 0` and run the "
            "experiment on it.",
        ),
        (
            None,
            "It is unknown whether these figures speak for new lesions: without lesion ids nobody can tell how many "
            "test images show a lesion that training saw.",
        ),
    ],
)
def test_figures_say_whether_they_speak_for_new_lesions(leaking: int | None, said: str) -> None:
    assert new_lesions({"leaking_images": leaking, "images": 2005}, "ham10000_28") == said
