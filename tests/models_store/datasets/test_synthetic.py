from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from models_store.datasets.describe import class_counts, describe
from models_store.datasets.labels import assert_official_counts
from models_store.datasets.layout import read_split, verify_layout
from models_store.datasets.lesions import lesions_path
from models_store.datasets.synthetic import OFFICIAL_CLASSES, generate


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default set, as large as the official one."""
    path = tmp_path_factory.mktemp("whole") / "synthetic.npz"
    generate(path)
    return path


def test_default_set_has_the_official_class_counts(whole: Path) -> None:
    layout = verify_layout(whole)

    assert layout.image_size == 28
    assert_official_counts(layout.labels)
    assert {split: class_counts(labels) for split, labels in layout.labels.items()} == OFFICIAL_CLASSES


def test_class_counts_of_the_generator_are_those_of_the_real_images(real_data: Path) -> None:
    labels = verify_layout(real_data).labels

    assert {split: class_counts(ids) for split, ids in labels.items()} == OFFICIAL_CLASSES


def test_malignant_is_learnable_but_not_trivial(whole: Path) -> None:
    train, test = read_split(whole, "train"), read_split(whole, "test")
    model = LogisticRegression(C=0.05, max_iter=200)

    model.fit(coarse_colours(train.images), train.malignant)
    auc = roc_auc_score(test.malignant, model.predict_proba(coarse_colours(test.images))[:, 1])

    assert 0.70 < auc < 0.92


def test_some_lesions_cross_the_splits_and_keep_their_diagnosis(whole: Path) -> None:
    description = describe(whole)
    splits = [read_split(whole, name) for name in ("train", "val", "test")]
    lesions = np.concatenate([split.lesion_ids for split in splits if split.lesion_ids is not None])
    labels = np.concatenate([split.labels for split in splits])

    assert description.lesions_shared_with_train is not None
    assert 0 < description.lesions_shared_with_train["val"] < 1003 / 4
    assert 0 < description.lesions_shared_with_train["test"] < 2005 / 4
    assert len(set(zip(lesions, labels, strict=True))) == len(set(lesions))


def test_two_views_of_one_lesion_are_different_images(whole: Path) -> None:
    assert describe(whole).duplicates == {"train-val": 0, "train-test": 0, "val-test": 0}


def test_same_seed_gives_the_same_bytes(generated: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.npz"

    generate(again, counts=(100, 20, 40))

    assert again.read_bytes() == generated.read_bytes()
    assert lesions_path(again).read_bytes() == lesions_path(generated).read_bytes()


def test_another_seed_gives_other_images(generated: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.npz"

    generate(other, counts=(100, 20, 40), seed=1)

    assert not np.array_equal(read_split(other, "test").images, read_split(generated, "test").images)


@pytest.mark.parametrize("image_size", [28, 64, 224])
def test_images_can_have_any_size(tmp_path: Path, image_size: int) -> None:
    path = tmp_path / "sized.npz"

    generate(path, image_size=image_size, counts=(8, 3, 4))

    assert verify_layout(path).image_size == image_size
    assert read_split(path, "test").images.shape == (4, image_size, image_size, 3)


def test_smaller_set_keeps_the_proportions(generated: Path) -> None:
    counts = class_counts(read_split(generated, "train").labels)

    assert counts == {"akiec": 3, "bcc": 5, "bkl": 11, "df": 1, "mel": 11, "nv": 67, "vasc": 2}


def test_file_stays_labelled_synthetic_under_another_name(small: Path, real_data: Path) -> None:
    renamed = small.rename(small.with_name("dermamnist.npz"))

    assert verify_layout(renamed).synthetic
    assert not verify_layout(real_data).synthetic


def coarse_colours(images: np.ndarray) -> np.ndarray:
    """Return the mean colour of 7 x 7 tiles, standardised: (N, 147)."""
    tiles = images.reshape(len(images), 7, 4, 7, 4, 3).mean(axis=(2, 4)).reshape(len(images), -1)
    return (tiles - 150) / 40
