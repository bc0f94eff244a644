"""Fabricated experiments in every state."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models_store.database import Database
from models_store.store.storage import Storage
from tests.finished_experiment import FinalRecord, a_final_record, a_spec, store_experiment, store_finished
from tests.populated_service import spot_network

MakeExperiment = Callable[..., str]


@pytest.fixture(scope="session")
def final() -> FinalRecord:
    return a_final_record(images=200)


@pytest.fixture
def make_result(database: Database, storage: Storage, tmp_path: Path, final: FinalRecord) -> MakeExperiment:
    """Stores a finished experiment whose network detects a dark centre, and returns its id."""
    made: list[str] = []

    def make(name: str = "finished", record: FinalRecord = final) -> str:
        folder = tmp_path / f"bundle{len(made)}"
        with database.write() as session:
            made.append(store_finished(session, storage, folder, a_spec(name=name), record, spot_network()))
        return made[-1]

    return make


@pytest.fixture
def make_experiment(database: Database) -> MakeExperiment:
    """Stores an experiment without trials and returns its id; `changes` apply to its specification."""

    def make(status: str = "running", phase: int = 1, **changes: Any) -> str:
        with database.write() as session:
            return store_experiment(session, a_spec(**changes), status, phase).id

    return make


@pytest.fixture
def finished(database: Database, storage: Storage, tmp_path: Path) -> str:
    """The id of an experiment with a collapsed trial, a failed one, a winner and its bundle."""
    with database.write() as session:
        return store_finished(session, storage, tmp_path / "fabricated", a_spec(), a_final_record())
