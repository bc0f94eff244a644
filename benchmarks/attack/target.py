"""The stack under attack: real processes on a database of its own, a fabricated champion, and keys to try it with."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import httpx

from benchmarks.attack.champion import populate
from benchmarks.databases import fresh_database
from models_store.database import Database
from service.access import keys
from tests.end_to_end.stack import Stack

MODELS = 3
REQUESTS_PER_MINUTE = 600
ANSWER_SECONDS = 30.0
HANGS_SECONDS = 10.0
# Scripted trials; one that starts runs until it is stopped.
ENDLESS = {"epochs": 1, "seconds": 600.0}

Result = TypeVar("Result")


@dataclass(frozen=True)
class Target:
    """The running stack and its addresses. `models` are the versions in the store, the champion first."""

    stack: Stack
    database: Database
    models: Sequence[str]
    predict: str = "/predict"

    @property
    def port(self) -> int:
        return self.stack.web_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def key(self, *scopes: str) -> str:
        """The text of a new key; each has a rate of its own."""
        with self.database.write() as session:
            return keys.create(session, "attacker", list(scopes))[1]  # type: ignore[arg-type]

    def revoke(self, key: str) -> None:
        with self.database.write() as session:
            keys.revoke(session, key.split("_")[1])

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        """A connection for each request, so that the damage of one is not attributed to the next."""
        shown = {"Connection": "close", **headers} | ({} if key is None else {"Authorization": f"Bearer {key}"})
        return httpx.Client(base_url=self.url, headers=shown, timeout=ANSWER_SECONDS, trust_env=False, verify=False)

    def log(self) -> str:
        return self.stack.log("web")

    def peak(self, act: Callable[[], Result]) -> tuple[Result, float]:
        """The result of `act`, and the growth of the web processes at their peak meanwhile, in megabytes."""
        pids = _tree(self.stack.processes["web"].pid)
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # VmHWM starts anew at what is resident now
        before = sum(_kilobytes(pid, "VmRSS") for pid in pids)
        result = act()
        return result, (sum(_kilobytes(pid, "VmHWM") for pid in pids) - before) / 1024

    def start_again(self) -> list[str]:
        """Restarts the processes that have ended or no longer answer, and returns their names."""
        ended = [name for name, process in self.stack.processes.items() if process.poll() is not None]
        if "web" not in ended and not self._answers():
            ended.append("web")
        for name in ended:
            self.renew(name)
        return ended

    def renew(self, name: str) -> None:
        """Ends a process if it still runs, and starts another."""
        self.stack.kill(name)
        self.stack.start_process(name)
        self.stack.wait_until_ready()

    def _answers(self) -> bool:
        deadline = time.monotonic() + HANGS_SECONDS
        while not (answers := self.stack.web_answers()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return answers


@contextmanager
def running(kind: str) -> Iterator[Target]:
    """The stack with its champion, on an empty database of this kind; nothing is left of it afterwards."""
    with fresh_database(kind) as url, tempfile.TemporaryDirectory(prefix="attack-") as folder:
        database = Database(url)
        stack = Stack(Path(folder), url, {"auth": "keys", "requests_per_minute": str(REQUESTS_PER_MINUTE)})
        stack.direct(every=ENDLESS)
        try:
            models = populate(database, Path(folder), MODELS)
            stack.start()
            target = Target(stack, database, models)
            yield replace(target, predict=_predict_path(target))
        finally:
            stack.stop()
            database.close()


def _predict_path(target: Target) -> str:
    """The address for one image, from the OpenAPI document of the service."""
    with target.client(target.key("read")) as client:
        paths = client.get("/openapi.json").raise_for_status().json()["paths"]
    return "/v1/predict" if "/v1/predict" in paths else "/predict"


def _tree(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(below for child in children for below in _tree(int(child)))]


def _kilobytes(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
