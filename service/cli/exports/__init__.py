"""Copy an experiment into the store of another program: one module per program, each with its command in `app`.

Nothing else names these modules, so one can be deleted.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import typer
from typer.core import TyperGroup
from typer.main import get_command


class Exports(TyperGroup):
    """One command per module."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return [found.name for found in iter_modules(__path__)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.list_commands(ctx):
            return None
        return get_command(import_module(f"{__name__}.{cmd_name}").app)


app = typer.Typer(name="export", cls=Exports, no_args_is_help=True, add_completion=False)


@app.callback()
def export() -> None:
    """Copy an experiment into the store of another program."""
