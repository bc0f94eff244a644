"""Who may talk to the service. API keys will stand here; until then it listens on loopback alone."""

from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends

from models_store.settings import Settings


class OpenAccessRefused(RuntimeError):
    """The settings would let anyone on the network in."""


def refuse_open_access(settings: Settings) -> None:
    """Raises `OpenAccessRefused` unless only this machine can reach the service, or callers have to show a key."""
    if settings.auth == "keys":
        raise OpenAccessRefused(
            "DERMATRIAGE_AUTH=keys asks for API keys, which this version cannot check yet; set DERMATRIAGE_AUTH=off "
            "and DERMATRIAGE_HOST=127.0.0.1, and let a reverse proxy on this machine check who calls"
        )
    if not is_loopback(settings.host):
        raise OpenAccessRefused(
            f"DERMATRIAGE_AUTH=off would let anyone who reaches {settings.host} submit experiments; listen on loopback "
            "(DERMATRIAGE_HOST=127.0.0.1)"
        )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def caller() -> str:
    """Who is recorded as the actor of a change."""
    return "local"


Caller = Annotated[str, Depends(caller)]
