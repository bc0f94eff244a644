"""How the command line ends when something went wrong: an exit code, and what to do about it."""

import os

from pydantic import ValidationError

from models_store.datasets.errors import DatasetError
from service.client import Refused, ServerUnreachable
from service.commands.output import KEY, BadInput

FAILED, UNUSABLE, UNREACHABLE, NO_KEY = 1, 2, 3, 4
HOW_TO_START = "Start it with `make up`, or name a running one with --url or DERMATRIAGE_URL."
HOW_TO_GET_A_KEY = (
    "Make one where the server runs: dermatriage keys create NAME --scope read --scope predict --scope submit\n"
    f"Then say here: export {KEY}=dt_…"
)


def ending(error: Exception) -> tuple[int, str]:
    """Exit code and message. Raises the error again if nobody foresaw it."""
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
    return _of_this_machine(error)


def _of_this_machine(error: Exception) -> tuple[int, str]:
    from sqlalchemy.exc import SQLAlchemyError

    from service.launcher import StackFailed
    from service.ports import PortTaken

    if isinstance(error, StackFailed | PortTaken):
        return FAILED, str(error)
    if isinstance(error, SQLAlchemyError):
        return FAILED, f"the database of DERMATRIAGE_DATABASE_URL does not answer ({error.args[0]})"
    raise error


def _refused(error: Refused) -> tuple[int, str]:
    if error.status == 401:
        had = f"the key in {KEY} is not in use" if os.environ.get(KEY) else f"{KEY} holds none"
        return NO_KEY, f"this server asks for an API key, and {had}.\n{HOW_TO_GET_A_KEY}"
    if error.status == 403:
        return NO_KEY, str(error)
    findings = [f"  {found.get('pointer') or found.get('parameter')}: {found['detail']}" for found in error.errors]
    if not findings:
        return UNUSABLE if error.status < 500 else FAILED, str(error)
    return UNUSABLE, "\n".join(["the server refuses this:", *findings, error.remedy])


def _unusable_settings(error: ValidationError) -> str:
    found = (f"DERMATRIAGE_{'_'.join(map(str, part['loc'])).upper()}: {part['msg']}" for part in error.errors())
    return f"the settings cannot be used: {'; '.join(found)}; the README lists every setting"
