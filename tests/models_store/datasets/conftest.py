"""Small generated data sets, and a folder that stands for the store."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models_store.datasets.synthetic import generate


@dataclass(frozen=True)
class FolderStore:
    """A store of files in one folder."""

    root: Path

    def put_file(self, local: Path, key: str) -> None:
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local, target)

    def get_file(self, key: str, target: Path) -> None:
        shutil.copyfile(self.root / key, target)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "store")


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """160 synthetic images with their lesions CSV; tests must not change them."""
    path = tmp_path_factory.mktemp("generated") / "small.npz"
    generate(path, counts=(100, 20, 40))
    return path


@pytest.fixture
def small(generated: Path, tmp_path: Path) -> Path:
    """A copy of the generated set, without its CSV, that a test may damage."""
    return Path(shutil.copy(generated, tmp_path / "small.npz"))


@pytest.fixture
def rewrite(small: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """Return a function that changes the arrays of `small` and saves them."""

    def change(edit: Callable[[dict[str, Any]], None]) -> Path:
        with np.load(small) as archive:
            arrays = dict(archive)
        edit(arrays)
        np.savez(small, **arrays)
        return small

    return change
