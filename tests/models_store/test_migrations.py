"""The migrations on both databases: equal to the tables, up and down, with rows in them, and many at once."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.util.exc import CommandError
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

import migrations
from models_store.database import Database
from models_store.tables import Table

NUMBERS = count(1)
EXPERIMENT = """INSERT INTO experiments (id, name, status, phase, progress, priority, spec, events, created_at)
                VALUES ('exp_1', 'first', 'running', 1, 0.5, 5, '{"epochs": 3}', 0, :now)"""
TRIAL = """INSERT INTO trials (id, experiment_id, phase, position, name, kind, queue, priority, spec, status, attempts,
                               fence, epochs_done, created_at)
           VALUES ('trl_1', 'exp_1', 1, 0, 'CNN_v1-W3', 'train', 'cpu', 5, '{"seed": 4}', 'running', 1, 1, 1, :now)"""
EPOCH = """INSERT INTO epochs (trial_id, number, metrics, seconds, eligible, best, created_at)
           VALUES ('trl_1', 1, '{"val_recall": 0.5}', 2.5, true, true, :now)"""


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without any table."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/empty.db"
    else:
        server = make_url(request.getfixturevalue("postgres_url")).set(drivername="postgresql+psycopg")
        name = f"empty_{next(NUMBERS)}"
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = server.set(database=name).render_as_string(hide_password=False)
    database = Database(url)
    yield database
    database.dispose()


def test_migrated_schema_is_the_one_the_code_expects(database: Database) -> None:
    command.check(migrations.config(database))


def test_schema_goes_down_to_nothing_and_up_again(database: Database) -> None:
    migrations.downgrade(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrations.upgrade(database)
    assert set(Table.metadata.tables) <= set(inspect(database.engine).get_table_names())


def test_rows_survive_every_migration_up_and_down(empty: Database) -> None:
    migrations.upgrade(empty, "0001")
    insert(empty, EXPERIMENT, TRIAL, EPOCH)
    before = rows(empty)
    migrations.upgrade(empty)
    assert rows(empty) == before
    migrations.downgrade(empty, "0001")
    assert rows(empty) == before


def test_foreign_keys_hold_after_a_migration_that_succeeded_and_one_that_failed(empty: Database) -> None:
    migrations.upgrade(empty, "0001")
    with pytest.raises(CommandError):
        migrations.upgrade(empty, "nowhere")
    with pytest.raises(IntegrityError):
        insert(empty, EPOCH)


def test_processes_that_start_together_migrate_one_after_the_other(empty: Database) -> None:
    environment = os.environ | {"DERMATRIAGE_DATABASE_URL": empty.url}
    root = Path(__file__).resolve().parents[2]
    started = [
        subprocess.Popen([sys.executable, "-m", "migrations"], cwd=root, env=environment, stderr=subprocess.DEVNULL)
        for _ in range(3)
    ]
    assert [process.wait(timeout=60) for process in started] == [0, 0, 0]
    command.check(migrations.config(empty))


def insert(database: Database, *statements: str) -> None:
    with database.write() as session:
        for statement in statements:
            session.execute(text(statement), {"now": datetime(2026, 1, 2, tzinfo=UTC)})


def rows(database: Database) -> dict[str, Any]:
    columns = {"experiments": "id, name, progress", "trials": "id, name, fence", "epochs": "trial_id, seconds"}
    with database.read() as session:
        return {table: session.execute(text(f"SELECT {names} FROM {table}")).all() for table, names in columns.items()}
