"""Protocols of other programs, served beside our own API.

Each module here has a `router` and an ASGI middleware `Translation`, which runs before every other layer and marks the
requests of its protocol as `service.web.scope_marks` describes, so that the keys and limits of our API apply. Nothing
else in the service depends on a protocol; its module can be deleted.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any


def installed_protocols() -> list[Any]:
    """The module of each protocol."""
    return [import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)]
