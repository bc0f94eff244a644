"""The keys with which a protocol of `service.protocols` marks its requests for the middleware."""

from starlette.types import Scope

ADDRESS = "dermatriage.address"
ERROR = "dermatriage.error"


def address(scope: Scope) -> str:
    """The address whose scope, limits and rates apply to a request: its own path, or the matching one of our API."""
    named: str = scope.get(ADDRESS) or scope["path"]
    return named
