"""The command line ``dermatriage``.

Exit codes: 0 done; 1 the experiment or the server failed, or is not ready; 2 the input cannot be used; 3 no server
answers; 4 a key is needed, or this one does not allow it; 130 stopped by Ctrl-C or a signal.
"""

import sys
from typing import Annotated

import typer
from rich.markup import escape

from models_store.catalog import DISCLAIMER
from service.commands import models, predicting, status, studies, submitting, verifying
from service.commands.endings import ending
from service.commands.later import Verbs
from service.commands.output import Finished, notes

app = typer.Typer(
    name="dermatriage",
    cls=Verbs,
    help=f"Train, calibrate and serve a screening classifier for skin lesions. {DISCLAIMER}",
    epilog="Exit codes: 0 done; 1 the experiment or the server failed, or is not ready; 2 the input cannot be used; "
    "3 no server answers; 4 a key is needed, or this one does not allow it; 130 stopped by Ctrl-C.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for verb in (
    status.status,
    submitting.submit,
    studies.experiments,
    studies.show,
    studies.watch,
    studies.cancel,
    studies.report,
    predicting.predict,
    models.models,
    models.promote,
    models.rollback,
    models.card,
    models.bundle,
    verifying.verify,
    models.catalog,
    status.version,
):
    app.command()(verb)
app.command("studies", hidden=True)(studies.experiments)


def _say_version(asked: bool) -> None:
    if asked:
        status.version()
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", help="Say which version this is.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    pass


def main() -> None:
    try:
        app()
    except Finished as finished:
        sys.exit(finished.exit_code)
    except Exception as error:
        exit_code, message = ending(error)
        notes().print(f"[bold red]dermatriage:[/bold red] {escape(message)}", soft_wrap=True)
        sys.exit(exit_code)


if __name__ == "__main__":
    main()
