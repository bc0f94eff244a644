"""Ids as typed on the command line: complete, a unique prefix, or `latest`."""

import re
from collections.abc import Callable, Iterator
from itertools import islice

from dermatriage_client import Client
from service.cli.output import BadInput

LATEST = "latest"
HELP = "Its first characters are enough if they are unique; `latest` is the newest."
PREFIX = re.compile(r"[A-Za-z0-9_]{1,64}")
COMPLETE_ID = re.compile(r"(exp|mdl)_[0-9a-f]{32}")
ListIds = Callable[[str | None], Iterator[str]]


def experiment_id(client: Client, typed: str) -> str:
    """Raises `BadInput`. A prefix that no id has is returned unchanged, for the server to refuse."""
    return _resolved(
        typed, "exp", "experiment", lambda prefix: (each.id for each in client.experiments(prefix=prefix, page_size=2))
    )


def model_version(client: Client, typed: str) -> str:
    """Like `experiment_id`."""
    return _resolved(
        typed, "mdl", "model", lambda prefix: (each.version for each in client.models(prefix=prefix, page_size=2))
    )


def _resolved(typed: str, kind: str, noun: str, newest: ListIds) -> str:
    if typed == LATEST:
        latest = next(newest(None), None)
        if latest is None:
            raise BadInput(f"there is no {noun} yet")
        return latest
    if COMPLETE_ID.fullmatch(typed) or not PREFIX.fullmatch(typed):
        return typed
    prefix = typed if typed.startswith(f"{kind}_") else f"{kind}_{typed}"
    # A server of an earlier version ignores the prefix and lists all ids.
    found = [each for each in islice(newest(prefix), 2) if each.startswith(prefix)]
    if len(found) > 1 and prefix not in found:
        raise BadInput(f"more than one {noun} begins with {typed}: {', '.join(found)}; type more characters")
    return prefix if prefix in found else next(iter(found), typed)
