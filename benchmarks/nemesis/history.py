"""What was asked, answered, done and found during a run: a list of facts, each with its moment, kept as JSON lines."""

import json
import threading
import time
from pathlib import Path
from typing import Any

Fact = dict[str, Any]


class History:
    """Appended to by every thread of the run. `at` is Unix time in seconds, the clock of the database's machine too."""

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        self.facts: list[Fact] = []

    def add(self, kind: str, **what: Any) -> None:
        fact = {"kind": kind, "at": time.time(), **what}
        with self._lock, self.path.open("a") as file:
            self.facts.append(fact)
            file.write(json.dumps(fact) + "\n")
