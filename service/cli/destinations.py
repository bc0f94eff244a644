"""Where a command works: on a server over HTTP, or on the database and store of this machine."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy.engine import make_url

from dermatriage_client import Client
from migrations import exists, migrated
from models_store.database import Database
from models_store.settings import Settings
from service.cli.output import URL, BadInput, connected, notes
from service.embedded.stack import settings_under

Var = Annotated[
    Path | None,
    typer.Option("--var", help="Folder of `dermatriage up`: use its database and store, not a server."),
]
Direct = Annotated[
    bool,
    typer.Option(
        "--direct", help="Use the database and store of the settings, not a server: for files too large to send."
    ),
]
Create = Annotated[bool, typer.Option("--create", help="Make the database if there is none.")]


def server(url: str | None, direct: bool, var: Path | None, *, create: bool = False) -> Client | None:
    """The server of `url`, or the one of the settings if it answers; None for this machine's database and store."""
    if direct or create or var is not None:
        if url != os.environ.get(URL):
            raise BadInput("--url names a server; --var, --direct and --create work without one: choose one of them")
        return None
    client = connected(url)
    if url is not None or client.healthy():
        return client
    client.close()
    notes().print(f"No server answers at {client.url}: using the database and store of this machine.", soft_wrap=True)
    return None


def settings_of(var: Path | None) -> Settings:
    return Settings() if var is None else settings_under(var)


@contextmanager
def database_of(settings: Settings, *, create: bool | None = None) -> Iterator[Database]:
    """The database of the settings, with the newest schema; `create` is None where a new one would be of no use.

    Raises `BadInput` where there is none.
    """
    if not create and not exists(settings.database_url):
        make = "" if create is None else ", or add --create to make it now"
        raise BadInput(
            f"there is no database at {database_name(settings)}. Start `dermatriage up`, which makes it, or name the "
            f"folder of another with --var{make}"
        )
    with migrated(settings.database_url) as database:
        yield database


def database_name(settings: Settings) -> str:
    """The file of SQLite, or a URL without its password."""
    url = make_url(settings.database_url)
    if url.get_backend_name() == "sqlite" and url.database:
        return str(Path(url.database).resolve())
    return url.render_as_string(hide_password=True)


def store_name(settings: Settings) -> str:
    return settings.store_url if "://" in settings.store_url else str(Path(settings.store_url).resolve())
