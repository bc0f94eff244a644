"""Splits of whole lesions: nothing is lost, no lesion lies on two sides, and every class keeps its shares."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter

from models_store.contract.specs import DatasetName
from models_store.datasets.describe import describe
from models_store.datasets.errors import DatasetInvalid
from models_store.datasets.labels import SPLITS
from models_store.datasets.layout import verify_layout
from models_store.datasets.lesions import COLUMNS, LesionRow, lesions_path, write_lesions
from models_store.datasets.splitting import MAX_SEED, LesionsUnknown, assign_sides, split_by_lesion, split_name
from models_store.files import sha256_of


@pytest.fixture
def split(generated: Path, tmp_path: Path) -> Path:
    target = tmp_path / "made" / "new.npz"
    split_by_lesion(generated, target, seed=0)
    return target


def images(path: Path) -> list[tuple[bytes, int]]:
    with np.load(path) as archive:
        return sorted(
            (image.tobytes(), int(label))
            for split in SPLITS
            for image, label in zip(archive[f"{split}_images"], archive[f"{split}_labels"][:, 0], strict=True)
        )


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def lesions_of(path: Path, split: str) -> set[str]:
    layout = verify_layout(path)
    assert layout.lesion_ids is not None
    return set(layout.lesion_ids[split].tolist())


def test_no_lesion_lies_on_two_sides(generated: Path, split: Path) -> None:
    train, val, test = (lesions_of(split, side) for side in SPLITS)
    assert not train & val
    assert not (train | val) & test
    before = [lesions_of(generated, side) for side in SPLITS]
    assert train | val | test == set().union(*before)


def test_every_image_keeps_its_pixels_label_and_lesion(generated: Path, split: Path) -> None:
    assert images(split) == images(generated)
    was = {row["image_id"]: row["lesion_id"] for row in rows(lesions_path(generated))}
    assert {row["image_id"]: row["lesion_id"] for row in rows(lesions_path(split))} == was
    assert tuple(rows(lesions_path(split))[0]) == COLUMNS
    assert pixels_by_id(split) == pixels_by_id(generated)


def pixels_by_id(path: Path) -> dict[str, bytes]:
    with np.load(path) as archive:
        arrays = dict(archive)
    return {
        row["image_id"]: arrays[f"{row['split']}_images"][int(row["index"])].tobytes()
        for row in rows(lesions_path(path))
    }


def test_split_stays_marked_as_synthetic(split: Path) -> None:
    assert verify_layout(split).synthetic
    with np.load(split) as archive:
        assert str(archive["synthetic"]) == "generator v1, seed 0"


def test_seed_decides_every_byte(generated: Path, split: Path, tmp_path: Path) -> None:
    again, other = tmp_path / "again.npz", tmp_path / "other.npz"
    split_by_lesion(generated, again, seed=0)
    split_by_lesion(generated, other, seed=1)
    assert sha256_of(again) == sha256_of(split) != sha256_of(other)
    assert lesions_path(again).read_bytes() == lesions_path(split).read_bytes()


def test_split_of_a_split_is_the_same_whatever_the_order_of_the_images() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 7, 500)
    lesion_ids = np.array(
        [f"L{label}_{number}" for label, number in zip(labels, rng.integers(0, 60, 500), strict=True)]
    )
    order = rng.permutation(500)
    assert (assign_sides(labels, lesion_ids, 3)[order] == assign_sides(labels[order], lesion_ids[order], 3)).all()


def test_every_class_gives_a_fifth_to_test_and_a_tenth_to_val() -> None:
    labels = np.repeat(np.arange(7), 200)
    lesion_ids = np.array([f"L{row // (1 + row % 3)}_{labels[row]}" for row in range(len(labels))])
    sides = assign_sides(labels, lesion_ids, 0)
    for class_id in range(7):
        assert abs((sides[labels == class_id] == "test").sum() - 40) <= 2
        assert abs((sides[labels == class_id] == "val").sum() - 20) <= 4


def test_images_of_one_lesion_stay_together_when_their_labels_differ() -> None:
    labels = np.tile([0, 5, 5], 40)
    lesion_ids = np.repeat([f"L{number:02d}" for number in range(40)], 3)
    sides = assign_sides(labels, lesion_ids, 0).reshape(40, 3)
    assert (sides == sides[:, :1]).all()
    assert set(sides.ravel()) == set(SPLITS)


def test_patients_file_moves_along_with_its_images(generated: Path, tmp_path: Path) -> None:
    source = Path(shutil.copy(generated, tmp_path / "set.npz"))
    shutil.copy(lesions_path(generated), lesions_path(source))
    table = [f"{row['split']},{row['index']},{row['image_id']},50" for row in rows(lesions_path(generated))]
    (tmp_path / "set_patients.csv").write_text("\n".join(["split,index,image_id,age", *table, ""]))

    split_by_lesion(source, tmp_path / "new.npz", seed=0)

    named = [(row["split"], row["index"], row["image_id"]) for row in rows(tmp_path / "new_patients.csv")]
    assert named == [(row["split"], row["index"], row["image_id"]) for row in rows(tmp_path / "new_lesions.csv")]


def test_set_without_lesion_ids_is_refused_with_the_remedy(small: Path, tmp_path: Path) -> None:
    with pytest.raises(LesionsUnknown, match=r"no lesion ids.*small_lesions\.csv.*register it again"):
        split_by_lesion(small, tmp_path / "new.npz", seed=0)


@pytest.mark.parametrize("name", ["clinic", "a.b-c_28", "x" * 64, "x" * 50])
def test_name_of_a_split_is_a_data_set_name_of_its_own(name: str) -> None:
    named = split_name(name, MAX_SEED)
    assert TypeAdapter(DatasetName).validate_python(named) == named
    assert named.endswith("_new_lesions_4294967295")
    assert named != split_name(name[:-1] + "y", MAX_SEED)


def test_name_that_fits_is_kept_whole() -> None:
    assert split_name("ham10000_28", 0) == "ham10000_28_new_lesions_0"


def test_set_of_too_few_lesions_is_refused(small: Path, tmp_path: Path) -> None:
    sizes = {"train": 100, "val": 20, "test": 40}
    one = [LesionRow(side, index, f"I{side}{index}", "L") for side in SPLITS for index in range(sizes[side])]
    write_lesions(lesions_path(small), one)
    with pytest.raises(DatasetInvalid, match="too few lesions"):
        split_by_lesion(small, tmp_path / "new.npz", seed=0)
    assert not (tmp_path / "new.npz").exists()


def test_real_images_keep_their_shares_and_share_no_lesion(real_data: Path, tmp_path: Path) -> None:
    split_by_lesion(real_data, tmp_path / "new.npz", seed=0)

    description = describe(tmp_path / "new.npz")
    assert description.lesions_on_two_sides == 0
    assert description.lesions_shared_with_train == {"val": 0, "test": 0}
    before, after = describe(real_data).splits, description.splits
    for name in before["train"].classes:
        total = sum(before[side].classes[name] for side in SPLITS)
        assert sum(after[side].classes[name] for side in SPLITS) == total
        assert abs(after["test"].classes[name] - total / 5) <= 3
        assert abs(after["val"].classes[name] - total / 10) <= 3
