"""Alembic's environment: builds and upgrades the schema of `models_store.tables` on SQLite and PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from alembic import context
from sqlalchemy import Connection, text

from models_store.database import Database
from models_store.tables import Table, UtcDateTime

ADVISORY_LOCK = 7_305_181_604  # an arbitrary number that no other lock in the database uses


def plain_types(kind: str, item: Any, _autogen: Any) -> str | Literal[False]:
    """A migration uses only SQLAlchemy's types, so that it still runs after changes of the code."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


@contextmanager
def tables_may_be_rebuilt(connection: Connection) -> Iterator[None]:
    """Commits at the end, with foreign keys off until then on SQLite, and checked before the commit.

    To alter a table, SQLite rebuilds and drops it, which foreign keys to its rows would forbid.
    """
    if connection.dialect.name != "sqlite":
        yield
        connection.commit()
        return
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA foreign_keys=OFF")  # has no effect once a transaction has begun
    try:
        yield
        orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        if orphans:
            raise RuntimeError(f"the migration would leave rows that refer to nothing, so it is undone: {orphans[:5]}")
        connection.commit()
    finally:
        connection.rollback()
        driver.execute("PRAGMA foreign_keys=ON")


def run(database: Database) -> None:
    # Several processes may start at once: the first migrates, the others wait and find nothing to do. On PostgreSQL an
    # advisory lock sees to that, on SQLite the write lock that a transaction takes at its start. The transaction is
    # begun before Alembic is configured: otherwise Alembic commits after each migration on SQLite, and another process
    # may go on from there.
    with (
        database.engine.connect().execution_options(dermatriage_write=True) as connection,
        tables_may_be_rebuilt(connection),
    ):
        connection.begin()
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        context.configure(
            connection=connection, target_metadata=Table.metadata, render_as_batch=True, render_item=plain_types
        )
        context.run_migrations()


run(context.config.attributes["database"])
