"""Make, list, rotate and revoke API keys. Works on a database of this machine, not over HTTP."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy import select

from models_store.database import Database
from models_store.tables import ApiKey
from service.access import keys
from service.access.keys import SCOPES, KeyNotFound, KeyRefused
from service.cli.destinations import Create, Var, database_name, database_of, settings_of
from service.cli.output import AsJson, BadInput, console, notes, show_json, show_table

app = typer.Typer(
    name="keys", help="API keys, in a database of this machine.", no_args_is_help=True, add_completion=False
)

Key = Annotated[str, typer.Argument(metavar="KEY", help="Id or prefix of the key.")]
Days = Annotated[int | None, typer.Option(min=1, max=36_500, help="Days until it expires; by default it never does.")]
SHOWN_ONCE = "This is the only time the key is shown."


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it; changes are recorded under this name.")],
    scope: Annotated[list[str], typer.Option(help=f"What it allows: {', '.join(SCOPES)}; may be repeated.")],
    days: Days = None,
    var: Var = None,
    create_database: Create = False,
    as_json: AsJson = False,
) -> None:
    """Make a key and show it once."""
    expires = None if days is None else timedelta(days=days)
    with _database(var, create_database) as database, database.write() as session:
        key, text = keys.create(session, name, scope, expires)  # type: ignore[arg-type]
        shown = _shown(key)
    _show_secret(shown, text, as_json)


@app.command("list")
def list_keys(var: Var = None, as_json: AsJson = False) -> None:
    """List keys by prefix. Secrets are not stored and cannot be shown."""
    with _database(var) as database, database.read() as session:
        known = [_shown(key) for key in session.scalars(select(ApiKey).order_by(ApiKey.created_at))]
    if as_json:
        show_json(known)
        return
    columns = ("prefix", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")
    show_table(columns, ([_cell(key[column]) for column in columns] for key in known))


@app.command()
def rotate(
    key: Key,
    overlap_hours: Annotated[float, typer.Option(min=0, help="Hours for which the old key still works.")] = 24,
    var: Var = None,
    as_json: AsJson = False,
) -> None:
    """Make a key with the same name, scopes and lifetime; the old one works until the overlap has passed."""
    with _database(var) as database, database.write() as session:
        fresh, text = keys.rotate(session, key, timedelta(hours=overlap_hours))
        shown = _shown(fresh)
    _show_secret(shown, text, as_json)


@app.command()
def revoke(key: Key, var: Var = None, as_json: AsJson = False) -> None:
    """End a key now."""
    with _database(var) as database, database.write() as session:
        shown = _shown(keys.revoke(session, key))
    if as_json:
        show_json(shown)
    else:
        console().print(f"{shown['prefix']} ({shown['name']}) is revoked; servers refuse it within two seconds.")


@contextmanager
def _database(var: Path | None, create: bool | None = None) -> Iterator[Database]:
    settings = settings_of(var)
    notes().print(f"Keys of the database {database_name(settings)}", soft_wrap=True, markup=False)
    try:
        with database_of(settings, create=create) as database:
            yield database
    except (KeyNotFound, KeyRefused) as error:
        raise BadInput(str(error)) from error


def _shown(key: ApiKey) -> dict[str, Any]:
    columns = ("created_at", "expires_at", "last_used_at", "revoked_at")
    times: dict[str, datetime | None] = {name: getattr(key, name) for name in columns}
    return {
        "id": key.id,
        "prefix": key.prefix,
        "name": key.name,
        "scopes": key.scopes,
        **{name: None if moment is None else moment.isoformat() for name, moment in times.items()},
    }


def _show_secret(shown: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        show_json({**shown, "key": text})
        return
    typer.echo(text)
    notes().print(f"{SHOWN_ONCE} Send it as `Authorization: Bearer …`; scopes: {', '.join(shown['scopes'])}.")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return ", ".join(value) if isinstance(value, list) else str(value)[:19]
