import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.datasets.errors import DatasetInvalid
from models_store.datasets.layout import read_split, verify_layout
from models_store.datasets.npz import check_every_byte

Arrays = dict[str, Any]
Rewrite = Callable[[Callable[[Arrays], None]], Path]


def float_images(arrays: Arrays) -> None:
    arrays["val_images"] = arrays["val_images"] / 255


def missing_split(arrays: Arrays) -> None:
    del arrays["val_images"], arrays["val_labels"]


def oblong_images(arrays: Arrays) -> None:
    arrays["train_images"] = arrays["train_images"][:, :14]


def grey_images(arrays: Arrays) -> None:
    arrays["test_images"] = arrays["test_images"][..., 0]


def no_images(arrays: Arrays) -> None:
    arrays["val_images"], arrays["val_labels"] = arrays["val_images"][:0], arrays["val_labels"][:0]


def different_sizes(arrays: Arrays) -> None:
    arrays["test_images"] = arrays["test_images"][:, :14, :14]


def class_id_nine(arrays: Arrays) -> None:
    arrays["train_labels"][3] = 9


def negative_class_id(arrays: Arrays) -> None:
    arrays["train_labels"] = arrays["train_labels"].astype(np.int64)
    arrays["train_labels"][3] = -1


def flat_labels(arrays: Arrays) -> None:
    arrays["train_labels"] = arrays["train_labels"][:, 0]


def too_few_labels(arrays: Arrays) -> None:
    arrays["test_labels"] = arrays["test_labels"][:-1]


def float_labels(arrays: Arrays) -> None:
    arrays["train_labels"] = arrays["train_labels"].astype(np.float32)


def pickled_images(arrays: Arrays) -> None:
    arrays["train_images"] = arrays["train_images"].astype(object)


@pytest.mark.parametrize(
    ("damage", "finding", "remedy"),
    [
        (float_images, "val_images are float64, not uint8", "Save pixels as uint8 from 0 to 255"),
        (missing_split, "missing val_images, val_labels", "holds the arrays train_images, train_labels"),
        (oblong_images, "train_images have shape (100, 14, 28, 3)", "(N, size, size, 3)"),
        (grey_images, "test_images have shape (40, 28, 28)", "(N, size, size, 3)"),
        (no_images, "val_images have shape (0, 28, 28, 3)", "N of them"),
        (different_sizes, "different image sizes [14, 28]", "Resize them to one size"),
        (class_id_nine, "train_labels hold the unknown class id [9]", "4 mel"),
        (negative_class_id, "train_labels hold the unknown class id [-1]", "4 mel"),
        (flat_labels, "train_labels have shape (100,) for 100 images", "the shape (100, 1)"),
        (too_few_labels, "test_labels have shape (39, 1) for 40 images", "the shape (40, 1)"),
        (float_labels, "train_labels are float32, not integers", "Save class ids as uint8"),
        (pickled_images, "train_images holds Python objects", "Save plain arrays"),
    ],
)
def test_defect_is_refused_with_file_finding_and_remedy(
    rewrite: Rewrite, damage: Callable[[Arrays], None], finding: str, remedy: str
) -> None:
    path = rewrite(damage)

    with pytest.raises(DatasetInvalid) as refusal:
        verify_layout(path)

    assert str(path) in str(refusal.value)
    assert finding in refusal.value.finding
    assert remedy in refusal.value.remedy


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.999])
def test_truncated_file_is_refused(small: Path, kept: float) -> None:
    content = small.read_bytes()
    small.write_bytes(content[: int(len(content) * kept)])

    with pytest.raises(DatasetInvalid, match=r"small\.npz: the file is truncated.*Copy or download the file again"):
        verify_layout(small)


def test_array_shorter_than_its_header_is_refused(small: Path, tmp_path: Path) -> None:
    shortened = tmp_path / "shortened.npz"
    with zipfile.ZipFile(small) as source, zipfile.ZipFile(shortened, "w") as target:
        for member in source.namelist():
            content = source.read(member)
            target.writestr(member, content[:-5] if member == "test_images.npy" else content)

    with pytest.raises(DatasetInvalid, match=r"test_images holds .* bytes where its header promises"):
        verify_layout(shortened)


def test_member_that_is_no_array_is_refused(small: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.npz"
    with zipfile.ZipFile(small) as source, zipfile.ZipFile(broken, "w") as target:
        for member in source.namelist():
            target.writestr(member, b"no array" if member == "val_labels.npy" else source.read(member))

    with pytest.raises(DatasetInvalid, match="val_labels is not a NumPy array"):
        verify_layout(broken)


def test_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetInvalid, match=r"nowhere\.npz: the file does not exist"):
        verify_layout(tmp_path / "nowhere.npz")


def test_reading_train_never_touches_the_pixels_of_test(small: Path) -> None:
    untouched = read_split(small, "train")
    spoil_pixels(small, "test_images.npy")

    train = read_split(small, "train")

    assert np.array_equal(train.images, untouched.images)
    with pytest.raises(DatasetInvalid, match="truncated, damaged"):
        read_split(small, "test")
    with pytest.raises(DatasetInvalid, match=r"damaged|CRC-32"):
        check_every_byte(small)


def test_split_holds_images_labels_and_lesions_in_the_order_of_the_file(real_data: Path) -> None:
    val = read_split(real_data, "val")

    with np.load(real_data) as archive:
        assert np.array_equal(val.images, archive["val_images"])
        assert np.array_equal(val.labels, archive["val_labels"][:, 0])
    assert val.images.dtype == np.uint8
    assert val.labels.dtype == val.malignant.dtype == np.int64
    assert val.malignant.sum() == 196
    assert val.lesion_ids is not None
    table = real_data.with_name("ham10000_28_lesions.csv").read_text().splitlines()
    listed = {tuple(line.split(",")[:2]): line.split(",")[3] for line in table}
    assert [listed["val", str(index)] for index in range(len(val.labels))] == val.lesion_ids.tolist()


def test_lesions_are_unknown_where_no_table_lies_beside_the_file(small: Path) -> None:
    assert read_split(small, "train").lesion_ids is None


def spoil_pixels(path: Path, member: str) -> None:
    """Flip the bits of one byte near the end of the member's stored data."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(member)
    content = bytearray(path.read_bytes())
    name_length, extra_length = (
        int.from_bytes(content[entry.header_offset + at : entry.header_offset + at + 2], "little") for at in (26, 28)
    )
    end = entry.header_offset + 30 + name_length + extra_length + entry.compress_size
    content[end - 200] ^= 0xFF
    path.write_bytes(content)
