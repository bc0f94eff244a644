import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from models_store.datasets.describe import describe
from models_store.files import sha256_of

Rewrite = Callable[[Callable[[dict[str, Any]], None]], Path]


def test_real_images_have_the_official_counts_and_their_leakage_is_counted(real_data: Path) -> None:
    description = describe(real_data)

    binary = {split: (counts.benign, counts.malignant) for split, counts in description.splits.items()}
    assert binary == {"train": (5641, 1366), "val": (807, 196), "test": (1613, 392)}
    assert description.splits["test"].classes["mel"] == 223
    assert description.lesions_on_two_sides == 991
    assert description.lesions_shared_with_train == {"val": 344, "test": 695}
    assert description.sha256 == "fa78822aaa3b770c61ad54671f4b96b010933eab112d9f865340426a6ea3699c"
    assert description.image_size == 28
    assert not description.synthetic
    assert "CC BY-NC 4.0" in description.licence


def test_duplicates_count_the_later_splits_images_that_an_earlier_split_holds(rewrite: Rewrite) -> None:
    def copy_images(arrays: dict[str, Any]) -> None:
        arrays["test_images"][:3] = arrays["train_images"][0]
        arrays["val_images"][5] = arrays["train_images"][7]
        arrays["test_images"][9] = arrays["val_images"][2]

    assert describe(rewrite(copy_images)).duplicates == {"train-val": 1, "train-test": 3, "val-test": 1}


def test_images_that_differ_in_one_pixel_are_no_duplicates(rewrite: Rewrite) -> None:
    def almost_copy(arrays: dict[str, Any]) -> None:
        arrays["test_images"][0] = arrays["train_images"][0]
        arrays["test_images"][0, 0, 0, 0] ^= np.uint8(1)

    assert describe(rewrite(almost_copy)).duplicates["train-test"] == 0


def test_shared_lesions_are_unknown_without_a_table(small: Path) -> None:
    assert describe(small).lesions_shared_with_train is None


def test_description_is_plain_json(generated: Path) -> None:
    description = json.loads(json.dumps(describe(generated).to_json()))

    assert description["file"] == "small.npz"
    assert description["sha256"] == sha256_of(generated)
    assert description["synthetic"] is True
    assert description["splits"]["train"]["images"] == 100
    assert description["lesions_shared_with_train"].keys() == {"val", "test"}
