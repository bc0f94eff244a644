from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest

from models_store.datasets.errors import (
    ChecksumMismatch,
    DatasetInvalid,
    DatasetNameRefused,
    DatasetUnavailable,
    DatasetUnknown,
)
from models_store.datasets.evidence import class_counts
from models_store.datasets.layout import read_split, verify_layout
from models_store.datasets.lesions import SharedLesions, count_shared_lesions
from models_store.datasets.patients import patients_path
from models_store.datasets.registration import RegisteredDataset, register
from models_store.datasets.sources import resolve
from models_store.files import sha256_of

SIZES = {"train": 100, "val": 20, "test": 40}


class Store(Protocol):
    root: Path

    def put_file(self, local: Path, key: str) -> None: ...
    def get_file(self, key: str, target: Path) -> None: ...


def fetch(registered: RegisteredDataset, store: Store, cache_root: Path) -> Path:
    return resolve(
        registered.name, data_root=cache_root / "data", cache_root=cache_root, registered=registered, storage=store
    )


def test_registered_file_comes_back_with_its_lesions(generated: Path, store: Store, tmp_path: Path) -> None:
    registered = register(generated, "clinic_28", storage=store)

    path = fetch(registered, store, tmp_path / "cache")

    assert path == tmp_path / "cache" / "datasets" / registered.sha256 / "clinic_28.npz"
    assert path.read_bytes() == generated.read_bytes()
    assert read_split(path, "test").lesion_ids is not None


def test_patients_file_comes_back_with_the_data_set(small: Path, store: Store, tmp_path: Path) -> None:
    places = [f"{split},{index}" for split, size in SIZES.items() for index in range(size)]
    patients_path(small).write_text("\n".join(["split,index,sex", *(f"{place},female" for place in places), ""]))
    registered = register(small, "clinic_28", storage=store)

    path = fetch(registered, store, tmp_path / "cache")

    assert registered.patients_store_key == f"datasets/{registered.sha256}_patients.csv"
    assert patients_path(path).read_bytes() == patients_path(small).read_bytes()


def test_damaged_patients_file_is_refused_before_anything_is_uploaded(small: Path, store: Store) -> None:
    patients_path(small).write_text("split,index,sex\ntrain,0,female\n")

    with pytest.raises(DatasetInvalid, match="1 rows for a data set of 160 images"):
        register(small, "clinic_28", storage=store)

    assert not store.root.exists()


@pytest.mark.parametrize(("label", "missing"), [(5, "malignant"), (4, "benign")])
def test_split_without_malignant_or_benign_images_is_refused_before_anything_is_uploaded(
    rewrite: Callable[[Callable[[dict[str, Any]], None]], Path], store: Store, label: int, missing: str
) -> None:
    def only_one_class(arrays: dict[str, Any]) -> None:
        arrays["test_labels"] = np.full_like(arrays["test_labels"], label)

    with pytest.raises(DatasetInvalid, match=f"split test has 0 {missing} of 40 images, and at least 1 is needed"):
        register(rewrite(only_one_class), "clinic_28", storage=store)

    assert not store.root.exists()


def test_registration_records_what_the_file_holds(generated: Path, store: Store) -> None:
    registered = register(generated, "clinic_28", storage=store)

    assert registered.sha256 == sha256_of(generated)
    assert registered.store_key == f"datasets/{registered.sha256}.npz"
    assert registered.lesions_store_key == f"datasets/{registered.sha256}_lesions.csv"
    assert registered.image_size == 28
    assert registered.counts["train"]["mel"] == 11
    assert registered.synthetic
    layout = verify_layout(generated)
    assert layout.lesion_ids is not None
    assert registered.lesion_counts is not None
    assert registered.lesion_counts["val"] == vars(class_counts(layout.labels["val"], layout.lesion_ids["val"]))
    assert registered.shared_lesions is not None
    assert registered.shared_lesions.keys() == {"lesions", "val_images", "test_images"}
    assert registered.made_from is None


def test_lesions_on_two_sides_are_counted_by_lesion_and_by_image() -> None:
    lesion_ids = {
        "train": np.array(["A", "A", "B", "C"]),
        "val": np.array(["B", "D", "D"]),
        "test": np.array(["A", "A", "A", "D", "E", "B"]),
    }
    assert count_shared_lesions(lesion_ids) == SharedLesions(lesions=3, val_images=1, test_images=4)


def test_file_without_a_lesions_table_is_registered_without_one(small: Path, store: Store, tmp_path: Path) -> None:
    registered = register(small, "clinic_28", storage=store)

    assert registered.lesions_store_key is None
    assert registered.shared_lesions is None
    assert read_split(fetch(registered, store, tmp_path / "cache"), "val").lesion_ids is None


def test_changed_local_copy_fails_its_checksum(generated: Path, store: Store, tmp_path: Path) -> None:
    registered = register(generated, "clinic_28", storage=store)
    path = fetch(registered, store, tmp_path / "cache")
    change_one_label(path)

    with pytest.raises(ChecksumMismatch) as refusal:
        fetch(registered, store, tmp_path / "cache")

    assert refusal.value.expected == registered.sha256
    assert refusal.value.found == sha256_of(path)
    assert str(path) in str(refusal.value)
    assert registered.sha256 in str(refusal.value)
    assert refusal.value.found in str(refusal.value)
    assert "delete" in refusal.value.remedy


def test_changed_copy_in_the_store_is_refused_and_not_kept(generated: Path, store: Store, tmp_path: Path) -> None:
    registered = register(generated, "clinic_28", storage=store)
    change_one_label(store.root / registered.store_key)

    with pytest.raises(ChecksumMismatch, match="register the original file again"):
        fetch(registered, store, tmp_path / "cache")

    assert list((tmp_path / "cache").rglob("*.npz")) == []


def test_deleted_local_files_are_fetched_again(generated: Path, store: Store, tmp_path: Path) -> None:
    registered = register(generated, "clinic_28", storage=store)
    path = fetch(registered, store, tmp_path / "cache")
    path.with_name("clinic_28_lesions.csv").unlink()

    assert read_split(fetch(registered, store, tmp_path / "cache"), "train").lesion_ids is not None


def test_file_missing_from_the_store_is_unavailable(generated: Path, store: Store, tmp_path: Path) -> None:
    registered = replace(register(generated, "clinic_28", storage=store), store_key="datasets/gone.npz")

    with pytest.raises(DatasetUnavailable, match=r"'clinic_28' cannot be fetched .* datasets/gone\.npz"):
        fetch(registered, store, tmp_path / "cache")


def test_unregistered_name_is_unknown(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DatasetUnknown, match=r"no data set is registered as 'clinic'.*dataset register PATH --name"):
        resolve("clinic", data_root=tmp_path, cache_root=tmp_path, registered=None, storage=store)


@pytest.mark.parametrize("name", ["dermamnist", "synthetic_224", "Upper", "a/b", "../x", "", "x" * 65])
def test_builtin_and_malformed_names_are_refused(generated: Path, store: Store, name: str) -> None:
    with pytest.raises(DatasetNameRefused):
        register(generated, name, storage=store)


def test_damaged_pixels_are_refused_before_anything_is_uploaded(small: Path, store: Store) -> None:
    content = bytearray(small.read_bytes())
    content[len(content) // 2] ^= 0xFF
    small.write_bytes(content)
    assert verify_layout(small)

    with pytest.raises(DatasetInvalid):
        register(small, "clinic_28", storage=store)

    assert not store.root.exists()


def change_one_label(path: Path) -> None:
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays["train_labels"][0] = (arrays["train_labels"][0] + 1) % 7
    np.savez_compressed(path, **arrays)
