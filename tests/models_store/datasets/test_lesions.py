from pathlib import Path

import pytest

from models_store.datasets.errors import DatasetInvalid
from models_store.datasets.layout import verify_layout
from models_store.datasets.lesions import lesions_path, read_lesions

SIZES = {"train": 2, "val": 1, "test": 1}
HEADER = "split,index,image_id,lesion_id\n"
WHOLE = "train,1,I1,L1\ntrain,0,I0,L0\nval,0,I2,L0\ntest,0,I3,L3\n"


def test_lesions_come_in_the_order_of_the_images(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    lesions_path(path).write_text(HEADER + WHOLE)

    lesions = read_lesions(path, SIZES)

    assert lesions is not None
    assert {split: ids.tolist() for split, ids in lesions.items()} == {
        "train": ["L0", "L1"],
        "val": ["L0"],
        "test": ["L3"],
    }


@pytest.mark.parametrize(
    ("table", "finding"),
    [
        ("", "not a lesions table"),
        ("split,index,lesion_id\n", "its columns are split, index, lesion_id"),
        (HEADER + WHOLE.replace("train,1", "train,one"), "not a lesions table"),
        (HEADER + WHOLE.replace(",L3", ""), "not a lesions table"),
        (HEADER + WHOLE + "holdout,0,I4,L4\n", "unknown split holdout"),
        (HEADER + WHOLE.replace("train,1,I1,L1\n", ""), "1 rows name 1 distinct train images"),
        (HEADER + WHOLE.replace("train,1", "train,0"), "2 rows name 1 distinct train images"),
        (HEADER + WHOLE.replace("train,1", "train,2"), "2 rows name 2 distinct train images"),
        (HEADER + WHOLE.replace("I1,L1", "I1,"), "2 rows name 1 distinct train images"),
        (HEADER + WHOLE + "val,0,I2,L0\n", "2 rows name 1 distinct val images"),
    ],
)
def test_table_that_does_not_name_each_image_once_is_refused(tmp_path: Path, table: str, finding: str) -> None:
    path = tmp_path / "set.npz"
    lesions_path(path).write_text(table)

    with pytest.raises(DatasetInvalid) as refusal:
        read_lesions(path, SIZES)

    assert "set_lesions.csv" in refusal.value.finding
    assert finding in refusal.value.finding
    assert "or remove" in refusal.value.remedy


def test_verification_includes_the_lesions_table(small: Path) -> None:
    lesions_path(small).write_text(HEADER + WHOLE)

    with pytest.raises(DatasetInvalid, match=r"small_lesions\.csv: 2 rows .* holds 100"):
        verify_layout(small)
