"""Logs as JSON, a line each: never the bytes of an image, never a key."""

import json
import logging
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
access = logging.getLogger("dermatriage.access")


class JsonLines(logging.Formatter):
    """Time, level, place, message, request, and the fields that were given as ``extra={"fields": …}``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := REQUEST_ID.get():
            line["request_id"] = request_id
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True, default=str)


def configure() -> None:
    """Sends every log of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    for noisy in ("uvicorn.access", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def tell(method: str, route: str, status: int, began: float, caller: str | None) -> None:
    """One line about one answered request. The route, not the path: a path may hold what a client likes."""
    if access.isEnabledFor(logging.INFO):
        milliseconds = round((time.perf_counter() - began) * 1000, 2)
        fields = {"method": method, "route": route, "status": status, "milliseconds": milliseconds, "caller": caller}
        access.info("answered", extra={"fields": fields})
