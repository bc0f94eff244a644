from pathlib import Path

import numpy as np
import pytest

from models_store.datasets.describe import describe
from models_store.datasets.errors import DatasetInvalid
from models_store.datasets.patients import band_width, patients_path, read_patients

SIZES = {"train": 3, "val": 1, "test": 1}
WHOLE = "split,index,sex\ntrain,1,male\ntrain,0,female\ntrain,2,\nval,0,male\ntest,0,female\n"


def write(folder: Path, table: str) -> Path:
    path = folder / "set.npz"
    patients_path(path).write_text(table)
    return path


def write_column(folder: Path, name: str, cells: list[str]) -> Path:
    """A table of one column for as many train images as there are cells; of two more images nothing is known."""
    rows = [f"train,{index},{cell}" for index, cell in enumerate(cells)]
    return write(folder, "\n".join([f"split,index,{name}", *rows, "val,0,", "test,0,", ""]))


def groups(folder: Path, name: str, cells: list[str]) -> tuple[str, ...] | None:
    columns = read_patients(write_column(folder, name, cells), {"train": len(cells), "val": 1, "test": 1})
    assert columns is not None
    return columns[name].groups if name in columns else None


def test_groups_come_in_the_order_of_the_images_and_empty_is_unknown(tmp_path: Path) -> None:
    columns = read_patients(write(tmp_path, WHOLE), SIZES)

    assert columns is not None
    assert columns["sex"].groups == ("female", "male")
    assert {split: of.tolist() for split, of in columns["sex"].of_images.items()} == {
        "train": ["female", "male", ""],
        "val": ["male"],
        "test": ["female"],
    }


def test_set_without_a_patients_table_has_no_columns(tmp_path: Path) -> None:
    assert read_patients(tmp_path / "set.npz", SIZES) is None


def test_ages_are_cut_into_bands_of_twenty_years(tmp_path: Path) -> None:
    ages = [str(age) for age in range(0, 90, 5)] * 20
    assert groups(tmp_path, "age", ages) == ("0 to 19", "20 to 39", "40 to 59", "60 to 79", "80 to 99")


def test_measured_numbers_are_cut_too_and_a_band_starts_at_its_own_number(tmp_path: Path) -> None:
    lengths = [f"{number / 10:.1f}" for number in range(1, 6)] + [f"{number / 100:.2f}" for number in range(10, 55)]
    columns = read_patients(write_column(tmp_path, "length", lengths), {"train": len(lengths), "val": 1, "test": 1})
    assert columns is not None
    assert columns["length"].groups == (
        "0.1 to under 0.2",
        "0.2 to under 0.3",
        "0.3 to under 0.4",
        "0.4 to under 0.5",
        "0.5 to under 0.6",
    )
    assert columns["length"].of_images["train"][2] == "0.3 to under 0.4"


def test_number_of_few_values_is_a_code_and_stays_as_it_is(tmp_path: Path) -> None:
    assert groups(tmp_path, "skin_type", [*"2134561", "10"] * 3) == ("1", "2", "3", "4", "5", "6", "10")


def test_words_among_numbers_make_a_column_of_words(tmp_path: Path) -> None:
    assert groups(tmp_path, "age", ["40", "adult", "40", "adult"]) == ("40", "adult")


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("patient_id", ["A", "A", "B", "B"]),
        ("ID", ["1", "1", "2", "2"]),
        ("file", [f"IMG{number}" for number in range(20)]),
        ("number", [str(number) for number in range(20)]),
    ],
)
def test_column_that_identifies_an_image_or_a_patient_is_left_out(tmp_path: Path, name: str, cells: list[str]) -> None:
    assert groups(tmp_path, name, cells) is None


def test_column_of_which_nothing_is_known_has_no_groups(tmp_path: Path) -> None:
    assert groups(tmp_path, "sex", ["", "", ""]) == ()


@pytest.mark.parametrize(
    ("values", "width"),
    [([0, 85], 20), ([0, 1000], 200), ([0.0, 0.001], 0.0002), ([5, 5], 1), ([*range(100), 99_999], 20)],
)
def test_width_of_a_band_is_a_round_number(values: list[float], width: float) -> None:
    assert band_width(np.array(values * 10, dtype=np.float64)) == pytest.approx(width)


@pytest.mark.parametrize(
    ("table", "finding"),
    [
        ("", "not a patients table"),
        ("index,split,sex\n", "its columns are index, split, sex"),
        ("split,index,sex,sex\n", "its columns are split, index, sex, sex"),
        (WHOLE.replace("train,1", "train,one"), "not a patients table"),
        (WHOLE.replace("train,2,", "train,2"), "the row train,2 has 2 cells for 3 columns"),
        (WHOLE.replace("train,2,\n", ""), "4 rows for a data set of 5 images"),
        (WHOLE.replace("train,2", "train,3"), "train 3 is no image of it"),
        (WHOLE.replace("train,2", "train,1"), "4 of its images are named"),
        (WHOLE.replace("train,2", "holdout,2"), "holdout 2 is no image of it"),
    ],
)
def test_table_that_does_not_name_each_image_once_is_refused(tmp_path: Path, table: str, finding: str) -> None:
    with pytest.raises(DatasetInvalid) as refusal:
        read_patients(write(tmp_path, table), SIZES)
    assert "set_patients.csv" in refusal.value.finding
    assert finding in refusal.value.finding
    assert "or remove" in refusal.value.remedy


def test_description_counts_the_groups_of_every_split(real_data: Path) -> None:
    patients = describe(real_data).patients
    assert patients is not None
    assert list(patients) == ["age", "sex", "localization", "dx_type"]
    assert patients["age"]["40 to 59"]["test"] == 920
    assert patients["sex"]["female"]["test"] == 886
    assert sum(group["test"] for group in patients["sex"].values()) == 2005
