"""What all commands share: output, options, errors and exit codes."""

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from pydantic_core import to_jsonable_python
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from dermatriage_client import Client, Refused, Retries, ServerUnreachable
from models_store.datasets.errors import DatasetError
from models_store.settings import Settings

URL = "DERMATRIAGE_URL"
Url = Annotated[str | None, typer.Option("--url", envvar=URL, help="Address of the server.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Limit = Annotated[int, typer.Option(min=1, help="Maximum number to list.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


INTERRUPTED = 130
KEY = "DERMATRIAGE_API_KEY"
# Two retries are enough for the restart of a server process, and report a server that is not running within half a
# second. Watching an experiment continues after the restart of a whole machine.
RETRIES = Retries(most=2, patience_seconds=120)


class BadInput(ValueError):
    """The input cannot be used; the message names the cause and the remedy."""


class Finished(Exception):
    """The command has done its work and ends with this exit code."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(f"exit code {exit_code}")
        self.exit_code = exit_code


def is_interactive() -> bool:
    return sys.stdin.isatty()


def confirm(question: str, confirmed: bool) -> None:
    """Raises `BadInput` without a terminal, and `Finished` if the answer is no."""
    if confirmed:
        return
    if not is_interactive():
        raise BadInput("there is no terminal to ask for confirmation; add --yes")
    if not typer.confirm(question, err=True):
        raise Finished(INTERRUPTED)


def console() -> Console:
    # A pipe has no width: a table cut to 80 columns there would lose its ids.
    return Console(highlight=False, width=None if os.isatty(1) else int(os.environ.get("COLUMNS", "160")))


def notes() -> Console:
    """Standard error, for everything except the result, which is alone on standard output."""
    return Console(stderr=True, highlight=False)


def show_json(value: Any) -> None:
    """`value` may hold answers of the client, also in lists and dictionaries."""
    typer.echo(json.dumps(to_jsonable_python(value), indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """The first column, which holds ids, names or files to copy, is never cut; others wrap."""
    first, *others = columns
    table = Table(Column(first, no_wrap=True, overflow="ignore"), box=None, header_style="bold", pad_edge=False)
    for other in others:
        table.add_column(other, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console().print(table)


def connected(url: str | None, retries: Retries = RETRIES, timeout_seconds: float = 60) -> Client:
    """A client of the given server, or of the one that the settings describe, with the key of DERMATRIAGE_API_KEY."""
    return Client(url or _own_url(), key=os.environ.get(KEY), retries=retries, timeout_seconds=timeout_seconds)


def command_line(client: Client, command: str) -> str:
    """`dermatriage COMMAND`, with `--url` if the same terminal needs it to reach the same server."""
    default = os.environ.get(URL) or _own_url()
    return f"dermatriage {command}{'' if client.url == default.rstrip('/') else f' --url {client.url}'}"


def _own_url() -> str:
    settings = Settings()
    return f"http://{settings.host}:{settings.port}"


def figure(metrics: Mapping[str, Any], name: str) -> str:
    """`0.912`, with its 95 % interval where there is one: `0.912 [0.881, 0.938]`."""
    value = metrics.get(name)
    if value is None:
        return "undefined"
    interval = (metrics.get("intervals") or {}).get(name)
    if interval is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def moment(value: datetime | None) -> str:
    """In local time: day and minute in this year, the date alone in earlier years."""
    if value is None:
        return ""
    local = value.astimezone()
    return local.strftime("%d %b %H:%M" if local.year == datetime.now().astimezone().year else "%Y-%m-%d")


FAILED, UNUSABLE, UNREACHABLE, NO_KEY = 1, 2, 3, 4
HOW_TO_START = "Start it with `make up`, or name a running one with --url or DERMATRIAGE_URL."
HOW_TO_GET_A_KEY = (
    "Make one where the server runs: dermatriage keys create NAME --scope read --scope predict --scope submit\n"
    "(and --var FOLDER, if `dermatriage up --var FOLDER` runs it).\n"
    f"Then run here: export {KEY}=dt_…"
)


def exit_code_and_message(error: Exception) -> tuple[int, str]:
    """Raises an unexpected error again."""
    if isinstance(error, ServerUnreachable):
        return UNREACHABLE, f"{error}\n{HOW_TO_START}"
    if isinstance(error, Refused):
        return _refused(error)
    if isinstance(error, ValidationError):
        return UNUSABLE, _unusable_settings(error)
    if isinstance(error, BadInput | DatasetError):
        return UNUSABLE, str(error)
    if isinstance(error, OSError):
        return FAILED, f"{error}; check that the folder exists, may be written and has room"
    return _local_failure(error)


def _local_failure(error: Exception) -> tuple[int, str]:
    from sqlalchemy.exc import SQLAlchemyError

    from service.embedded.probes import PortTaken
    from service.embedded.stack import StackFailed

    if isinstance(error, StackFailed | PortTaken):
        return FAILED, str(error)
    if isinstance(error, SQLAlchemyError):
        return FAILED, f"the database of DERMATRIAGE_DATABASE_URL does not answer ({error.args[0]})"
    raise error


def _refused(error: Refused) -> tuple[int, str]:
    if error.status == 401:
        found = f"the key in {KEY} is not valid" if os.environ.get(KEY) else f"{KEY} is not set"
        return NO_KEY, f"this server requires an API key, and {found}.\n{HOW_TO_GET_A_KEY}"
    if error.status == 403:
        return NO_KEY, str(error)
    findings = [
        f"  {found.get('pointer') or found.get('parameter') or 'the body'}: {found['detail']}" for found in error.errors
    ]
    if not findings:
        return UNUSABLE if error.status < 500 else FAILED, str(error)
    return UNUSABLE, "\n".join(["the server refuses this:", *findings, error.remedy])


def _unusable_settings(error: ValidationError) -> str:
    found = (f"DERMATRIAGE_{'_'.join(map(str, part['loc'])).upper()}: {part['msg']}" for part in error.errors())
    return f"the settings cannot be used: {'; '.join(found)}; docs/settings.md lists every setting"
