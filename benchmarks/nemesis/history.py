"""The history of a run: a list of facts, each with its time, kept as JSON lines."""

import json
import threading
import time
from pathlib import Path
from typing import Any

Fact = dict[str, Any]


class History:
    """Every thread of the run appends to it. `at` is Unix time in seconds, by the same clock as the database."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        self.facts: list[Fact] = []

    def add(self, kind: str, **what: Any) -> None:
        fact = {"kind": kind, "at": time.time(), **what}
        with self._lock, self.path.open("a") as file:
            self.facts.append(fact)
            file.write(json.dumps(fact) + "\n")
