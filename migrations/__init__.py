"""Alembic migrations, run by code so that no working directory or configuration file matters."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from models_store.database import Database


def config(database: Database) -> Config:
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent))
    settings.attributes["database"] = database
    return settings


def upgrade(database: Database, revision: str = "head") -> None:
    """Brings the schema to `revision`; what is already there stays."""
    command.upgrade(config(database), revision)


def downgrade(database: Database, revision: str) -> None:
    command.downgrade(config(database), revision)
