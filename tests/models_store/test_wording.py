"""Figures in words."""

import pytest

from models_store.wording import new_lesions


@pytest.mark.parametrize(
    ("dataset", "leaking", "said"),
    [
        ("ham10000_28", 0, "Every test lesion is new to the network."),
        (
            "ham10000_28",
            695,
            "695 of 2,005 test images show a lesion that training saw: these figures do not speak for new lesions; "
            "make a lesion-grouped data set with `dermatriage dataset split ham10000_28 --seed 0` and run the "
            "experiment on it.",
        ),
        (
            "dermamnist_64",
            None,
            "About a third of the test images of DermaMNIST's official split show a lesion that is also in train "
            "(Abhishek, Jain, Hamarneh, Scientific Data 12:196, 2025): these figures do not speak for new lesions.",
        ),
        (
            "ham10000_28",
            None,
            "It is unknown whether these figures speak for new lesions: without lesion ids nobody can tell how many "
            "test images show a lesion that training saw.",
        ),
    ],
)
def test_figures_say_whether_they_speak_for_new_lesions(dataset: str, leaking: int | None, said: str) -> None:
    assert new_lesions({"leaking_images": leaking, "images": 2005}, dataset) == said
