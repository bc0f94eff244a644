"""Studies in every state, fabricated."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_store.database import Database
from models_store.storage import Storage
from tests.fabricated_study import a_final_record, a_spec, store_experiment, store_finished

MakeStudy = Callable[..., str]


@pytest.fixture
def make_study(database: Database) -> MakeStudy:
    """Stores a study without trials and returns its id; `changes` are those of its specification."""

    def make(status: str = "running", phase: int = 1, **changes: Any) -> str:
        with database.write() as session:
            return store_experiment(session, a_spec(**changes), status, phase).id

    return make


@pytest.fixture
def finished(database: Database, storage: Storage, tmp_path: Path) -> str:
    """The id of a study with a collapsed trial, a failed one, a winner and its bundle."""
    with database.write() as session:
        return store_finished(session, storage, tmp_path / "fabricated", a_spec(), a_final_record())
