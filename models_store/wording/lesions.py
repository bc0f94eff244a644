"""Whether the figures of a test set are valid for lesions that training never saw."""

from collections.abc import Mapping
from typing import Any

from models_store.datasets.official import OFFICIAL_NAMES

OFFICIAL_SPLIT = (
    "About a third of the test images of DermaMNIST's official split show a lesion that is also in train (Abhishek, "
    "Jain, Hamarneh, Scientific Data 12:196, 2025)"
)

NOT_FOR_NEW_LESIONS = (
    "these figures do not speak for new lesions, on which a network usually does worse; by how much, this test set "
    "cannot tell."
)


def new_lesions(test: Mapping[str, Any], dataset: str) -> str:
    """Whether the figures of a recorded `Evaluation` are valid for new lesions; if not, how to measure such figures."""
    leaking, images = test["leaking_images"], test["images"]
    grouped = f"make a lesion-grouped data set with `dermatriage dataset split {dataset} --seed 0`"
    if leaking == 0:
        return "Every test lesion is new to the network."
    if leaking is not None:
        return (
            f"{leaking:,} of {images:,} test images show a lesion that training saw: {NOT_FOR_NEW_LESIONS} To measure "
            f"it, {grouped} and run the experiment on it."
        )
    with_ids = f"To measure it, put a lesions file beside the data set, {grouped} and run the experiment on it."
    if dataset in OFFICIAL_NAMES:
        return f"{OFFICIAL_SPLIT}: {NOT_FOR_NEW_LESIONS} {with_ids}"
    return (
        "It is unknown whether these figures speak for new lesions, on which a network usually does worse: without "
        f"lesion ids nobody can tell how many test images show a lesion that training saw. {with_ids}"
    )


def rest_of_test_set(test: Mapping[str, Any]) -> str:
    """What the figures without leaking images are, and are not."""
    return (
        f"The part of the test set without such lesions, {test['leak_free']['images']:,} images; not an estimate for "
        "new lesions, because lesions photographed once are easier."
    )
