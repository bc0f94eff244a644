"""What a protocol of `service.protocols` says of its requests to the layers around every endpoint."""

from starlette.types import Scope

ADDRESS = "dermatriage.address"
ERROR = "dermatriage.error"


def address(scope: Scope) -> str:
    """The address whose scope, limits and rates hold for a request: its own path, or that of our API it stands for."""
    named: str = scope.get(ADDRESS) or scope["path"]
    return named
