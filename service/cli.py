"""The command line ``dermatriage``.

Exit codes: 0 done; 1 the experiment or the server failed; 2 the input cannot be used; 3 no server answers; 130 stopped
by Ctrl-C or a signal.
"""

import sys

import typer
from pydantic import ValidationError
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from models_store.catalog import DISCLAIMER
from models_store.datasets.errors import DatasetError
from service.client import Refused, ServerUnreachable
from service.commands import datasets, keys, models, stack, studies
from service.commands.output import BadInput, Finished, notes
from service.launcher import StackFailed
from service.ports import PortTaken

app = typer.Typer(
    name="dermatriage",
    help=f"Train, calibrate and serve a screening classifier for skin lesions. {DISCLAIMER}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for verb in (
    stack.up,
    stack.demo,
    studies.submit,
    studies.watch,
    studies.cancel,
    studies.report,
    models.predict,
    models.models,
    models.promote,
    models.rollback,
    models.catalog,
):
    app.command()(verb)
app.add_typer(datasets.app, name="dataset", help="Data sets of this machine's store.")
app.add_typer(keys.app, name="keys", help="API keys, in the database of the settings.")

HOW_TO_START = "Start it with `make up`, or name a running one with --url or DERMATRIAGE_URL."


def main() -> None:
    try:
        app()
    except Finished as finished:
        sys.exit(finished.exit_code)
    except ServerUnreachable as error:
        _end(3, f"{error}\n{HOW_TO_START}")
    except Refused as error:
        _end(2 if error.status < 500 else 1, str(error))
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


def _unusable_settings(error: ValidationError) -> str:
    found = (f"DERMATRIAGE_{'_'.join(map(str, part['loc'])).upper()}: {part['msg']}" for part in error.errors())
    return f"the settings cannot be used: {'; '.join(found)}; the README lists every setting"


if __name__ == "__main__":
    main()
