"""The test set opens once."""

import ast
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.contract.records import TestSetAlreadyOpened
from models_store.datasets.layout import DatasetInvalid, read_split
from workers.pipeline.data import NothingFrozen, Opening, SealedTestSet

REPOSITORY = Path(__file__).resolve().parents[3]
FROZEN = Opening("exp_1", "a" * 64, 0.31)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for split, images in (("train", 8), ("val", 6), ("test", 7)):
        arrays[f"{split}_images"] = random.integers(0, 256, (images, 40, 40, 3), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(images, dtype=np.uint8).reshape(-1, 1) % 7
    np.savez(tmp_path / "tiny.npz", **arrays)
    return tmp_path / "tiny.npz"


def test_the_first_opening_gives_the_test_split(dataset: Path) -> None:
    split = SealedTestSet(dataset).open(FROZEN)
    assert split.images.shape == (7, 40, 40, 3)
    assert split.labels.tolist() == list(range(7))


def test_a_second_opening_in_the_same_process_is_refused(dataset: Path) -> None:
    sealed = SealedTestSet(dataset)
    sealed.open(FROZEN)
    with pytest.raises(TestSetAlreadyOpened, match=r"exp_1 .* earlier in this process for the bundle aaaaaaaaaaaa"):
        sealed.open(Opening("exp_1", "c" * 64, 0.2))


def test_a_run_that_crashed_before_its_record_may_open_the_test_set_again(dataset: Path) -> None:
    first = SealedTestSet(dataset).open(FROZEN)
    again = SealedTestSet(dataset).open(FROZEN)
    np.testing.assert_array_equal(first.images, again.images)
    np.testing.assert_array_equal(first.labels, again.labels)


def test_an_opening_that_could_not_read_leaves_the_seal_whole(dataset: Path, tmp_path: Path) -> None:
    sealed = SealedTestSet(tmp_path / "later.npz")
    with pytest.raises(DatasetInvalid):
        sealed.open(FROZEN)
    dataset.rename(tmp_path / "later.npz")
    assert len(sealed.open(FROZEN).labels) == 7


@pytest.mark.parametrize(
    ("opening", "finding"),
    [
        (Opening("", "a" * 64, 0.3), "names its experiment"),
        (Opening("exp_1", "", 0.3), "no sha256"),
        (Opening("exp_1", "A" * 64, 0.3), "no sha256"),
        (Opening("exp_1", "a" * 63, 0.3), "no sha256"),
        (Opening("exp_1", "a" * 64, float("nan")), "calibrate before"),
        (Opening("exp_1", "a" * 64, 1.5), "calibrate before"),
    ],
)
def test_nothing_opens_before_bundle_and_threshold_are_frozen(dataset: Path, opening: Opening, finding: str) -> None:
    sealed = SealedTestSet(dataset)
    with pytest.raises(NothingFrozen, match=finding):
        sealed.open(opening)
    assert sealed.opened is None


def test_sealing_reads_nothing(tmp_path: Path) -> None:
    assert SealedTestSet(tmp_path / "not there.npz").opened is None


def test_damaged_test_pixels_are_found_only_when_the_seal_is_opened(dataset: Path) -> None:
    # Given a data set whose test pixels no longer match their checksum
    with zipfile.ZipFile(dataset) as archive:
        pixels = archive.read("test_images.npy")[128:]
    content = dataset.read_bytes()
    assert content.count(pixels) == 1
    dataset.write_bytes(content.replace(pixels, bytes(255 - value for value in pixels)))
    # When the other splits are read and the seal is made, nothing touches those pixels
    read_split(dataset, "train")
    read_split(dataset, "val")
    sealed = SealedTestSet(dataset)
    # Then only opening the test set finds the damage
    with pytest.raises(DatasetInvalid):
        sealed.open(FROZEN)


def test_no_other_module_of_the_workers_reads_the_test_split() -> None:
    readers = {
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "workers").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and "read_split" in ast.unparse(call.func)
        and any(isinstance(value, ast.Constant) and value.value == "test" for value in ast.walk(call))
    }
    assert readers == {"workers/pipeline/data.py"}
