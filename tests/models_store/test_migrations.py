"""The migrations on both databases: equal to the tables, up and down, with rows in them, and many at once."""

import json
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
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    DateTime,
    Float,
    Integer,
    MetaData,
    String,
    create_engine,
    event,
    inspect,
    select,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

import migrations
from models_store.contract.specs import MAX_EXPERIMENT_MINUTES
from models_store.database import Database
from models_store.tables import Experiment, Table

pytestmark = pytest.mark.both_databases

NUMBERS = count(1)
MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
REVISIONS = [each.revision for each in ScriptDirectory(str(Path(migrations.__file__).parent)).walk_revisions()][::-1]
# Each runs through all downgrades; the rows of the revisions between differ from these in a few columns.
OLDEST_AND_NEWEST_FIRST = [
    REVISIONS[0],
    REVISIONS[-1],
    *(pytest.param(each, marks=pytest.mark.slow) for each in REVISIONS[1:-1]),
]
EPOCH_OF_NO_TRIAL = """INSERT INTO epochs (trial_id, number, metrics, seconds, eligible, best, created_at)
                       VALUES ('trl_1', 1, '{}', 2.5, true, true, '2026-01-02')"""


@pytest.fixture
def empty(database_url: str, tmp_path: Path) -> Iterator[Database]:
    """A database without any table, of the kind that `database` is."""
    server = make_url(database_url)
    if server.get_backend_name() == "sqlite":
        url = f"sqlite:///{tmp_path}/empty.db"
    else:
        server = server.set(drivername="postgresql+psycopg")
        name = f"empty_{next(NUMBERS)}"
        engine = create_engine(server, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        engine.dispose()
        url = server.set(database=name).render_as_string(hide_password=False)
    database = Database(url)
    yield database
    database.close()


def test_migrated_schema_is_the_one_the_code_expects(database: Database) -> None:
    command.check(migrations.config(database))


def test_schema_can_be_downgraded_completely_and_upgraded_again(database: Database) -> None:
    migrations.downgrade(database, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    migrations.upgrade(database)
    assert set(Table.metadata.tables) <= set(inspect(database.engine).get_table_names())


@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_every_revision_survive_the_upgrade(empty: Database, revision: str) -> None:
    """A row in every table of the revision; its values are unchanged after all later migrations."""
    migrations.upgrade(empty, revision)
    fill(empty)
    before = rows(empty)
    assert set(before) >= {"experiments", "trials", "epochs", "models"}
    assert all(before.values())

    migrations.upgrade(empty)

    command.check(migrations.config(empty))
    after = rows(empty)
    assert kept(after, before) == kept(before, after)
    assert set(after) >= set(before), "a migration dropped a table with rows in it"


@pytest.mark.parametrize("revision", OLDEST_AND_NEWEST_FIRST)
def test_rows_survive_every_downgrade(empty: Database, revision: str) -> None:
    """Rows of the revision, and of the newest in tables that came later; their values are unchanged below."""
    migrations.upgrade(empty, revision)
    fill(empty)
    migrations.upgrade(empty)
    fill(empty)
    full = rows(empty)

    for earlier in REVISIONS[-2::-1]:
        migrations.downgrade(empty, earlier)
        below = rows(empty)
        assert kept(below, full) == kept(full, below)

    migrations.upgrade(empty)
    command.check(migrations.config(empty))


def test_numbers_of_stored_specs_come_within_the_bounds_and_the_rest_stays(empty: Database) -> None:
    migrations.upgrade(empty, "0005")
    fill(empty)
    spec = {"name": "x", "limits": {"experiment_minutes": 1e300}, "calibration": {"beta": 2.0}}
    with empty.write() as session:
        session.execute(text("UPDATE experiments SET spec = :spec"), {"spec": json.dumps(spec)})
    migrations.upgrade(empty)
    with empty.read() as session:
        (found,) = session.scalars(select(Experiment.spec)).all()
    assert found == spec | {"limits": {"experiment_minutes": MAX_EXPERIMENT_MINUTES}}


def test_figures_of_a_test_set_move_to_the_model_and_back_on_downgrade(empty: Database) -> None:
    def stored() -> tuple[Any, Any]:
        with empty.read() as session:
            return tuple(
                json.loads(found) if isinstance(found, str) else found
                for found in session.execute(
                    text("SELECT experiments.result, trials.metrics FROM experiments JOIN trials ON true")
                ).one()
            )

    migrations.upgrade(empty, "0007")
    fill(empty)
    figures = {"epochs": 3}
    with empty.write() as session:
        result = json.dumps({"winner": "x", "test": figures})
        session.execute(text("UPDATE experiments SET result = :result"), {"result": result})
    migrations.upgrade(empty)
    assert stored() == ({"winner": "x"}, None)
    migrations.downgrade(empty, "0007")
    assert stored() == ({"winner": "x", "test": figures}, figures)


def test_trials_get_the_priority_of_their_experiment_on_downgrade(empty: Database) -> None:
    migrations.upgrade(empty)
    fill(empty)
    with empty.write() as session:
        session.execute(text("UPDATE experiments SET priority = 7"))
    migrations.downgrade(empty, "0012")
    with empty.read() as session:
        assert session.execute(text("SELECT priority FROM trials")).scalars().all() == [7]


def test_migrations_build_exactly_the_tables(empty: Database, database: Database) -> None:
    """Also what Alembic's own check leaves out: keys, checks, defaults and what a deletion takes with it."""
    Table.metadata.create_all(empty.engine)
    assert structure(database) == structure(empty)


def test_foreign_keys_hold_after_a_migration_that_succeeded_and_one_that_failed(empty: Database) -> None:
    migrations.upgrade(empty, "0001")
    with pytest.raises(CommandError):
        migrations.upgrade(empty, "nowhere")
    with pytest.raises(IntegrityError), empty.write() as session:
        session.execute(text(EPOCH_OF_NO_TRIAL))


def test_upgrade_is_one_transaction_so_that_no_process_finds_half_of_it(empty: Database) -> None:
    commits: list[Connection] = []
    event.listen(empty.engine, "commit", commits.append)

    migrations.upgrade(empty)

    assert len(commits) == 1


def test_processes_that_start_together_migrate_one_after_the_other(empty: Database) -> None:
    environment = os.environ | {"DERMATRIAGE_DATABASE_URL": empty.url}
    root = Path(__file__).resolve().parents[2]
    command_line = [sys.executable, "-m", "migrations"]
    started = [
        subprocess.Popen(command_line, cwd=root, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    errors = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], "\n".join(errors)
    command.check(migrations.config(empty))


def fill(database: Database) -> None:
    """Puts one row into each table that has none, every column filled, as the tables are at this revision."""
    for table in reflected(database).sorted_tables:
        with database.engine.connect().execution_options(dermatriage_write=True) as connection:
            if connection.execute(select(table)).first() is None:
                connection.execute(table.insert(), {column.name: value_for(column) for column in table.columns})
            connection.commit()


def value_for(column: Column[Any]) -> Any:
    """Alike in every table, so that what a foreign key names is there."""
    match column.type:
        case JSON():
            return {"epochs": 3}
        case DateTime():
            return MOMENT
        case Boolean():
            return True
        case Integer():
            return 1
        case Float():
            return 0.5
        case String():
            return "x"
    raise AssertionError(f"{column} has a type that this test has no value for: {column.type!r}")


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.engine.connect() as connection:
        return {
            table.name: [dict(row) for row in connection.execute(select(table)).mappings()]
            for table in reflected(database).sorted_tables
        }


def kept(of: dict[str, list[dict[str, Any]]], other: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """The rows of `of` in the tables and columns that both have, the figures that 0008 moves left out."""
    moved = {"trials": "metrics", "experiments": "result"}
    return {
        name: [
            {column: row[column] for column in row if column in other[name][0] and column != moved.get(name)}
            for row in of[name]
        ]
        for name in of.keys() & other.keys()
    }


def reflected(database: Database) -> MetaData:
    metadata = MetaData()
    metadata.reflect(database.engine, only=lambda name, _: name != "alembic_version")
    return metadata


def structure(database: Database) -> dict[str, Any]:
    """The schema of each table as the database reports it, without the names of constraints."""
    schema = inspect(database.engine)
    return {
        table: {
            "columns": {
                each["name"]: (str(each["type"]), each["nullable"], each["default"])
                for each in schema.get_columns(table)
            },
            "primary key": schema.get_pk_constraint(table)["constrained_columns"],
            "foreign keys": sorted(
                (each["constrained_columns"], each["referred_table"], each["referred_columns"], str(each["options"]))
                for each in schema.get_foreign_keys(table)
            ),
            "unique": sorted(each["column_names"] for each in schema.get_unique_constraints(table)),
            "checks": sorted(each["sqltext"] for each in schema.get_check_constraints(table)),
            "indexes": sorted(
                (each["name"], each["column_names"], each["unique"]) for each in schema.get_indexes(table)
            ),
        }
        for table in schema.get_table_names()
        if table != "alembic_version"
    }
