"""The web process' logs: a line of JSON each, with the request that it was written for."""

import logging
import time
from contextvars import ContextVar
from typing import Any

from models_store import logs

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
access = logging.getLogger("dermatriage.access")


class RequestLines(logs.JsonLines):
    """Names the request under way as well."""

    def circumstances(self, record: logging.LogRecord) -> dict[str, Any]:
        request_id = REQUEST_ID.get()
        return ({"request_id": request_id} if request_id else {}) | super().circumstances(record)


def configure() -> None:
    """Sends every log of this process to standard error."""
    logs.configure(RequestLines())


def tell(method: str, route: str, status: int, began: float, caller: str | None) -> None:
    """One line about one answered request. The route, not the path: a path may hold what a client likes."""
    if access.isEnabledFor(logging.INFO):
        milliseconds = round((time.perf_counter() - began) * 1000, 2)
        fields = {"method": method, "route": route, "status": status, "milliseconds": milliseconds, "caller": caller}
        access.info("answered", extra={"fields": fields})
