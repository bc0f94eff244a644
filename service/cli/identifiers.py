"""Ids as a person types them: whole, by a beginning that only one has, or `latest`."""

import re
from collections.abc import Callable, Iterator
from itertools import islice

from dermatriage_client import Client
from service.cli.output import BadInput

LATEST = "latest"
HELP = "Its first characters are enough if they are unique; `latest` is the newest."
BEGINNING = re.compile(r"[A-Za-z0-9_]{1,64}")
WHOLE = re.compile(r"(exp|mdl)_[0-9a-f]{32}")
Listed = Callable[[str | None], Iterator[str]]


def experiment_id(client: Client, typed: str) -> str:
    """Raises `BadInput`; what begins no id is returned as it is, for the server to refuse."""
    return _found(
        typed, "exp", "experiment", lambda prefix: (each.id for each in client.experiments(prefix=prefix, page_size=2))
    )


def model_version(client: Client, typed: str) -> str:
    """Like `experiment_id`."""
    return _found(
        typed, "mdl", "model", lambda prefix: (each.version for each in client.models(prefix=prefix, page_size=2))
    )


def _found(typed: str, kind: str, called: str, newest: Listed) -> str:
    if typed == LATEST:
        latest = next(newest(None), None)
        if latest is None:
            raise BadInput(f"there is no {called} yet")
        return latest
    if WHOLE.fullmatch(typed) or not BEGINNING.fullmatch(typed):
        return typed
    prefix = typed if typed.startswith(f"{kind}_") else f"{kind}_{typed}"
    # A server of an earlier version lists all ids whatever they begin with.
    found = [each for each in islice(newest(prefix), 2) if each.startswith(prefix)]
    if len(found) > 1 and prefix not in found:
        raise BadInput(f"{typed} begins more than one {called}: {', '.join(found)}; type more of the one you mean")
    return prefix if prefix in found else next(iter(found), typed)
