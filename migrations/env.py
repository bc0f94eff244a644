"""Alembic's environment: builds and upgrades the schema of `models_store.tables` on SQLite and PostgreSQL."""

from typing import Any, Literal

from alembic import context
from sqlalchemy import text

from models_store.database import Database
from models_store.tables import Table, UtcDateTime

ADVISORY_LOCK = 7_305_181_604  # any number that nothing else in the database locks


def plain_types(kind: str, item: Any, _autogen: Any) -> str | Literal[False]:
    """A migration names only SQLAlchemy's own types, so that it still runs when the code has moved on."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run(database: Database) -> None:
    # Several processes may start at once: the first migrates, the others wait and find nothing left to do. On SQLite
    # the write lock that a writing transaction takes at its start does the same.
    with database.engine.connect().execution_options(dermatriage_write=True) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        context.configure(
            connection=connection, target_metadata=Table.metadata, render_as_batch=True, render_item=plain_types
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


run(context.config.attributes["database"])
