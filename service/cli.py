"""The command line ``dermatriage``.

Exit codes: 0 done; 1 the experiment or the server failed, or is not ready; 2 the input cannot be used; 3 no server
answers; 4 a key is needed, or this one does not allow it; 130 stopped by Ctrl-C or a signal.
"""

import os
import sys
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from models_store.catalog import DISCLAIMER
from models_store.datasets.errors import DatasetError
from service.client import Refused, ServerUnreachable
from service.commands import datasets, keys, models, predicting, stack, status, studies, submitting
from service.commands.output import KEY, BadInput, Finished, notes
from service.launcher import StackFailed
from service.ports import PortTaken

app = typer.Typer(
    name="dermatriage",
    help=f"Train, calibrate and serve a screening classifier for skin lesions. {DISCLAIMER}",
    epilog="Exit codes: 0 done; 1 the experiment or the server failed, or is not ready; 2 the input cannot be used; "
    "3 no server answers; 4 a key is needed, or this one does not allow it; 130 stopped by Ctrl-C.",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for verb in (
    stack.up,
    stack.demo,
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
    models.catalog,
    status.version,
):
    app.command()(verb)
app.add_typer(datasets.app, name="dataset", help="Data sets of this machine's store.")
app.add_typer(keys.app, name="keys", help="API keys, in the database of the settings.")

app.command("studies", hidden=True)(studies.experiments)

HOW_TO_START = "Start it with `make up`, or name a running one with --url or DERMATRIAGE_URL."
HOW_TO_GET_A_KEY = (
    "Make one where the server runs: dermatriage keys create NAME --scope read --scope predict --scope submit\n"
    f"Then say here: export {KEY}=dt_…"
)


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
    except ServerUnreachable as error:
        _end(3, f"{error}\n{HOW_TO_START}")
    except Refused as error:
        _end(*_refused(error))
    except ValidationError as error:
        _end(2, _unusable_settings(error))
    except (BadInput, DatasetError) as error:
        _end(2, str(error))
    except (StackFailed, PortTaken) as error:
        _end(1, str(error))
    except SQLAlchemyError as error:
        _end(1, f"the database of DERMATRIAGE_DATABASE_URL does not answer ({error.args[0]})")
    except OSError as error:
        _end(1, f"{error}; check that the folder exists, may be written and has room")


def _end(exit_code: int, message: str) -> None:
    notes().print(f"[bold red]dermatriage:[/bold red] {escape(message)}", soft_wrap=True)
    sys.exit(exit_code)


def _refused(error: Refused) -> tuple[int, str]:
    if error.status == 401:
        had = f"the key in {KEY} is not in use" if os.environ.get(KEY) else f"{KEY} holds none"
        return 4, f"this server asks for an API key, and {had}.\n{HOW_TO_GET_A_KEY}"
    if error.status == 403:
        return 4, str(error)
    findings = [f"  {found.get('pointer') or found.get('parameter')}: {found['detail']}" for found in error.errors]
    if not findings:
        return 2 if error.status < 500 else 1, str(error)
    return 2, "\n".join(["the server refuses this:", *findings, error.remedy])


def _unusable_settings(error: ValidationError) -> str:
    found = (f"DERMATRIAGE_{'_'.join(map(str, part['loc'])).upper()}: {part['msg']}" for part in error.errors())
    return f"the settings cannot be used: {'; '.join(found)}; the README lists every setting"


if __name__ == "__main__":
    main()
