"""Alembic migrations, run by code, so that they need no working directory or configuration file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import inspect
from sqlalchemy.engine import make_url

from models_store.database import Database


def config(database: Database) -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    settings.attributes["database"] = database
    return settings


def upgrade(database: Database, revision: str = "head") -> None:
    """Brings the schema to `revision`; existing rows stay."""
    command.upgrade(config(database), revision)


def exists(url: str) -> bool:
    """Whether there is a database of this product at `url`; does not create one."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        return False
    database = Database(url)
    try:
        return inspect(database.engine).has_table("alembic_version")
    finally:
        database.close()


@contextmanager
def migrated(url: str) -> Iterator[Database]:
    """The database at `url`, brought to the newest schema first and closed at the end."""
    database = Database(url)
    try:
        upgrade(database)
        yield database
    finally:
        database.close()


def migrate(url: str) -> None:
    """Brings the schema of the database at `url` to the newest one."""
    with migrated(url):
        pass


def downgrade(database: Database, revision: str) -> None:
    command.downgrade(config(database), revision)
