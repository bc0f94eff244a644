"""A finished study for the pages to show, its figures fabricated."""

from collections.abc import Callable
from pathlib import Path

import pytest

from models_store.database import Database
from models_store.storage import Storage
from tests.fabricated_study import FinalRecord, a_final_record, a_spec, store_finished
from tests.furnished import spot_network

MakeStudy = Callable[..., str]


@pytest.fixture(scope="session")
def final() -> FinalRecord:
    return a_final_record(images=200)


@pytest.fixture
def make_study(database: Database, storage: Storage, tmp_path: Path, final: FinalRecord) -> MakeStudy:
    """Stores a finished study whose network answers to a dark middle, and returns its id."""
    made: list[str] = []

    def make(name: str = "finished", record: FinalRecord = final) -> str:
        folder = tmp_path / f"bundle{len(made)}"
        with database.write() as session:
            made.append(store_finished(session, storage, folder, a_spec(name=name), record, spot_network()))
        return made[-1]

    return make
