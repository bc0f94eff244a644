"""Figures in words."""

from typing import Any

import pytest

from models_store.wording import Verdict, expected_patients, new_lesions, p_value, signed, verdict


@pytest.mark.parametrize(
    ("dataset", "leaking", "text"),
    [
        ("ham10000_28", 0, "Every test lesion is new to the network."),
        (
            "ham10000_28",
            695,
            "695 of 2,005 test images show a lesion that training saw: these figures do not speak for new lesions, on "
            "which a network usually does worse; by how much, this test set cannot tell. To measure it, make a "
            "lesion-grouped data set with `dermatriage dataset split ham10000_28 --seed 0` and run the experiment on "
            "it.",
        ),
        (
            "dermamnist_64",
            None,
            "About a third of the test images of DermaMNIST's official split show a lesion that is also in train "
            "(Abhishek, Jain, Hamarneh, Scientific Data 12:196, 2025): these figures do not speak for new lesions, on "
            "which a network usually does worse; by how much, this test set cannot tell. To measure it, put a lesions "
            "file beside the data set, make a lesion-grouped data set with `dermatriage dataset split dermamnist_64 "
            "--seed 0` and run the experiment on it.",
        ),
        (
            "ham10000_28",
            None,
            "It is unknown whether these figures speak for new lesions, on which a network usually does worse: without "
            "lesion ids nobody can tell how many test images show a lesion that training saw. To measure it, put a "
            "lesions file beside the data set, make a lesion-grouped data set with `dermatriage dataset split "
            "ham10000_28 --seed 0` and run the experiment on it.",
        ),
    ],
)
def test_sentence_states_whether_figures_are_valid_for_new_lesions(
    dataset: str, leaking: int | None, text: str
) -> None:
    assert new_lesions({"leaking_images": leaking, "images": 2005}, dataset) == text


@pytest.mark.parametrize(
    ("recall", "limits", "text", "tone"),
    [
        (
            0.883,
            (0.85, 0.91),
            "0.883, below the target of 0.90, which its interval (0.850 to 0.910) still includes",
            "careful",
        ),
        (0.80, (0.75, 0.84), "0.800, below the target of 0.90, which its interval (0.750 to 0.840) excludes", "bad"),
        (
            0.916,
            (0.884, 0.941),
            "0.916, above the target of 0.90, which its interval (0.884 to 0.941) includes",
            "good",
        ),
        (0.96, (0.93, 0.98), "0.960, above the target of 0.90, which its interval (0.930 to 0.980) excludes", "good"),
        (0.9, (0.87, 0.93), "0.900, at the target of 0.90, which its interval (0.870 to 0.930) includes", "good"),
    ],
)
def test_a_valid_guarantee_is_shown_with_the_recall_of_the_test_set(
    recall: float, limits: tuple[float, float], text: str, tone: str
) -> None:
    found = verdict({"holds": True, "kind": "confidence", "target_recall": 0.9}, measured(recall, *limits))
    assert found == Verdict(f"Validly calibrated; recall on the test set is {text}.", tone)


def test_a_verdict_names_a_void_or_absent_guarantee_and_a_test_set_without_malignant_images() -> None:
    at_target = measured(0.92, 0.89, 0.95)
    void = verdict({"holds": False, "kind": "confidence", "target_recall": 0.975}, at_target)
    assert void.sentence.startswith(
        "Not validly calibrated; recall on the test set is 0.920, below the target of 0.975,"
    )
    absent = verdict({"holds": False, "kind": "none", "target_recall": None}, at_target)
    assert absent == Verdict("No recall is promised; recall on the test set is 0.920 (0.890 to 0.950).", "bad")
    benign = {"recall": None, "intervals": {"recall": None}}
    assert verdict({"holds": True, "kind": "confidence", "target_recall": 0.9}, benign) == Verdict(
        "Validly calibrated; the test set has no malignant image to check the recall on.", "careful"
    )


def test_a_verdict_counts_lesions_where_they_are_known() -> None:
    lesions = {"found": 197, "lesions": 232, "recall": 197 / 232, "interval": {"low": 0.796, "high": 0.893}}
    test = {**measured(0.877, 0.841, 0.908), "lesion_recall": lesions}
    assert verdict({"holds": True, "kind": "confidence", "target_recall": 0.9}, test) == Verdict(
        "Validly calibrated; of 232 malignant lesions of the test set 197 are called malignant on every image, 0.849, "
        "below the target of 0.90, which its interval (0.796 to 0.893) excludes.",
        "bad",
    )


def measured(recall: float, low: float, high: float) -> dict[str, Any]:
    return {"recall": recall, "intervals": {"recall": {"low": low, "high": high}}}


@pytest.mark.parametrize(
    ("number", "text"), [(None, "not defined"), (0.43, "0.4"), (9.94, "9.9"), (9.96, "10"), (359.0, "359")]
)
def test_expected_patients_are_whole_from_ten_on(number: float | None, text: str) -> None:
    assert expected_patients(number) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0004, "p < 0.001"), (0.0312, "p = 0.031"), (0.9996, "p > 0.999"), (1.0, "p > 0.999")]
)
def test_a_p_value_is_never_both_equal_and_beyond(value: float, text: str) -> None:
    assert p_value(value) == text


@pytest.mark.parametrize(("value", "text"), [(0.0312, "+0.031"), (-0.0312, "-0.031"), (-0.0001, "+0.000")])
def test_a_difference_that_rounds_to_zero_is_not_negative(value: float, text: str) -> None:
    assert signed(value) == text
