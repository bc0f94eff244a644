"""Alembic's environment: builds and upgrades the schema of `models_store.tables` on SQLite and PostgreSQL."""

from typing import Any, Literal

from alembic import context

from models_store.database import Database
from models_store.tables import Table, UtcDateTime


def plain_types(kind: str, item: Any, _autogen: Any) -> str | Literal[False]:
    """A migration names only SQLAlchemy's own types, so that it still runs when the code has moved on."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def run(database: Database) -> None:
    with database.engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=Table.metadata, render_as_batch=True, render_item=plain_types
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


run(context.config.attributes["database"])
