"""Logs as lines of JSON, without the bytes of images and without keys."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

JSON = json.JSONEncoder(ensure_ascii=True, default=str)  # `json.dumps` would make one for every line


class JsonLines(logging.Formatter):
    """Time, level, place, message, and the fields given as ``extra={"fields": …}``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **self.fields_of(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return JSON.encode(line)

    def fields_of(self, record: logging.LogRecord) -> dict[str, Any]:
        return dict(getattr(record, "fields", {}))


def configure(lines: logging.Formatter | None = None) -> None:
    """Sends every log of this process, and every warning, to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines or JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for noisy in ("uvicorn.access", "httpx"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
