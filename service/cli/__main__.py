"""The command line ``dermatriage``.

Exit codes: 0 done; 1 the experiment or the server failed, or is not ready; 2 the input cannot be used; 3 no server
answers; 4 a key is needed, or this one does not allow it; 130 stopped by Ctrl-C or a signal.
"""

import logging
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.markup import escape
from typer.core import TyperGroup
from typer.main import get_command

from models_store.contract.catalog import DISCLAIMER
from service.cli import experiments, models, outcomes, predicting, pruning, status, submitting
from service.cli.output import KEY, URL, Finished, exit_code_and_message, notes

STACK = "service.cli.stack"
LAZY_COMMANDS = {
    "up": STACK,
    "demo": STACK,
    "dataset": "service.cli.datasets",
    "keys": "service.cli.keys",
    "export": "service.cli.exports",
}
LISTED_FIRST = ("up", "demo")


class Commands(TyperGroup):
    """Imports the modules of `LAZY_COMMANDS` on first use, and lists the commands of `LISTED_FIRST` first."""

    def list_commands(self, ctx: Any) -> list[str]:
        eager = [name for name in super().list_commands(ctx) if name not in LAZY_COMMANDS]
        return [*LISTED_FIRST, *eager, *(name for name in LAZY_COMMANDS if name not in LISTED_FIRST)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in LAZY_COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _load(cmd_name)
        return super().get_command(ctx, cmd_name)


def _load(name: str) -> Any:
    group: Any = get_command(import_module(LAZY_COMMANDS[name]).app)
    return group.commands[name] if name in LISTED_FIRST else group


app = typer.Typer(
    name="dermatriage",
    cls=Commands,
    help=f"Train, calibrate and serve a screening classifier for skin lesions. {DISCLAIMER}",
    epilog=f"Environment: {URL} is the address of the server, as --url is; {KEY} is the API key, if the server "
    "requires one. Exit codes: 0 done; 1 the experiment or the server failed, or is not ready; 2 the input cannot be "
    "used; 3 no server answers; 4 a key is needed, or this one does not allow it; 130 stopped by Ctrl-C.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    status.status,
    submitting.submit,
    experiments.experiments,
    experiments.show,
    experiments.watch,
    experiments.cancel,
    experiments.retry,
    experiments.delete,
    experiments.report,
    predicting.predict,
    predicting.predictions,
    outcomes.outcome,
    outcomes.outcomes,
    models.models,
    models.promote,
    models.rollback,
    models.card,
    models.bundle,
    models.verify,
    models.delete_model,
    models.catalog,
    pruning.prune,
    status.version,
):
    app.command()(command)
app.command("studies", hidden=True)(experiments.experiments)


def _print_version(requested: bool) -> None:
    if requested:
        status.version()
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    # Only the last failure is reported, not each failed attempt before it.
    logging.getLogger("stamina").addHandler(logging.NullHandler())
    try:
        app()
    except Finished as finished:
        sys.exit(finished.exit_code)
    except Exception as error:
        exit_code, message = exit_code_and_message(error)
        notes().print(f"[bold red]dermatriage:[/bold red] {escape(message)}", soft_wrap=True)
        sys.exit(exit_code)


if __name__ == "__main__":
    main()
