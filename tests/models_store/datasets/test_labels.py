import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models_store.datasets.labels import (
    CLASS_NAMES,
    MALIGNANT,
    OFFICIAL_COUNTS,
    assert_official_counts,
    binary_counts,
    class_names,
    is_malignant,
)
from models_store.datasets.layout import verify_layout


def test_class_ids_follow_medmnist() -> None:
    assert CLASS_NAMES == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert {"mel", "bcc", "akiec"} == MALIGNANT


def test_classes_are_mapped_by_name_not_by_position() -> None:
    published = {"0": "melanocytic nevi", "1": "melanoma", "2": "dermatofibroma"}

    assert class_names(published) == ("nv", "mel", "df")


@pytest.mark.parametrize(
    ("name", "malignant"),
    [("akiec", 1), ("bcc", 1), ("bkl", 0), ("df", 0), ("mel", 1), ("nv", 0), ("vasc", 0)],
)
def test_melanoma_and_both_carcinomas_are_malignant(name: str, malignant: int) -> None:
    assert is_malignant([CLASS_NAMES.index(name)]).tolist() == [malignant]


def test_is_malignant_keeps_the_shape_and_gives_int64() -> None:
    binary = is_malignant(np.array([[0], [5]], dtype=np.uint8))

    assert binary.dtype == np.int64
    assert binary.tolist() == [[1], [0]]


@pytest.mark.parametrize("unknown", [-1, 7])
def test_unknown_class_id_has_no_binary_label(unknown: int) -> None:
    with pytest.raises(ValueError, match=r"class ids must be 0\.\.6"):
        is_malignant([0, unknown])


def test_real_labels_map_to_the_official_counts_and_the_wrong_ids_do_not(real_data: Path) -> None:
    labels = verify_layout(real_data).labels
    wrong = int(np.isin(labels["train"], [1, 3, 4]).sum())

    assert_official_counts(labels)
    assert OFFICIAL_COUNTS == {"train": (5641, 1366), "val": (807, 196), "test": (1613, 392)}
    assert (len(labels["train"]) - wrong, wrong) == (5789, 1218)


def test_labels_under_permuted_ids_fail_the_assertion(real_data: Path) -> None:
    labels = verify_layout(real_data).labels
    study_ids = np.array([4, 3, 2, 6, 1, 0, 5])  # akiec 4, bcc 3, bkl 2, df 6, mel 1, nv 0, vasc 5

    with pytest.raises(AssertionError, match="the official labels map to"):
        assert_official_counts({split: study_ids[ids] for split, ids in labels.items()})


def test_binary_counts_are_benign_then_malignant() -> None:
    assert binary_counts([5, 5, 4]) == (2, 1)


def test_reading_the_labels_prints_nothing_and_imports_no_framework() -> None:
    program = (
        "import sys, models_store.datasets.labels;"
        "sys.exit(any(name in sys.modules for name in ('torch', 'keras', 'tensorflow', 'medmnist')))"
    )

    finished = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, check=False)

    assert (finished.returncode, finished.stdout, finished.stderr) == (0, b"", b"")
