"""The servers that are compared, as processes: how each is started, and its CPU time and memory."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from service.embedded import probes

BENTOML = "1.4.40"
READY_SECONDS = 180.0
POLL_SECONDS = 0.01
# No telemetry, and no GPU for TensorFlow, because the other servers use none.
QUIET = {"ORT_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": ""}


@dataclass(frozen=True)
class Server:
    """One running server, and the seconds and CPU seconds from its start to its first prediction."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    start_seconds: float
    start_cpu_seconds: float

    def cpu_seconds(self) -> float:
        """The CPU seconds of its processes so far, in user and kernel mode."""
        return sum(_cpu_seconds(pid) for pid in _tree(self.process.pid))

    def megabytes(self) -> tuple[float, float]:
        """Resident memory, and proportional memory, which divides shared pages among their processes."""
        figures = [_memory(pid) for pid in _tree(self.process.pid)]
        return sum(resident for resident, _ in figures), sum(proportional for _, proportional in figures)


def service(settings: Mapping[str, object], port: int, checkout: Path = Path()) -> tuple[list[str], dict[str, str]]:
    """Command and environment of this product's web process, of the working directory or of another checkout."""
    environment = {f"DERMATRIAGE_{name.upper()}": str(value) for name, value in settings.items()}
    environment["PYTHONPATH"] = f"{checkout.resolve()}:{checkout.resolve() / 'client'}"
    return [sys.executable, "-P", "-m", "service.web"], environment | {"DERMATRIAGE_PORT": str(port)}


def peer(module: str, model: Path, port: int, processes: int, threads: int) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a server in `benchmarks/peers`, run by uvicorn like this product, without its log."""
    command = [sys.executable, "-m", "uvicorn", f"benchmarks.peers.{module}:app", "--port", str(port)]
    quiet = ["--workers", str(processes), "--log-level", "warning", "--no-access-log"]
    return [*command, *quiet], {"MODEL": str(model), "THREADS": str(threads)}


def bento_environment(folder: Path) -> Path:
    """Makes a virtual environment with BentoML and this product's versions of its other packages; returns `folder`."""
    same = [f"{name}=={version(name)}" for name in ("numpy", "onnxruntime", "pillow")]
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--quiet", "install"]
    subprocess.run([*pip, f"bentoml=={BENTOML}", *same], check=True)
    return folder


def bento(folder: Path, model: Path, port: int, processes: int, threads: int) -> tuple[list[str], dict[str, str]]:
    """Command and environment of BentoML's server, of the virtual environment in `folder`."""
    command = [str(folder / "bin" / "bentoml"), "serve", "benchmarks.peers.bento:Predict", "--host", "127.0.0.1"]
    environment = {"MODEL": str(model), "THREADS": str(threads), "PROCESSES": str(processes)}
    own = {"BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": str(folder / "home")}
    return [*command, "--port", str(port)], environment | own


@contextmanager
def running(name: str, command: list[str], environment: dict[str, str], port: int, first: bytes) -> Iterator[Server]:
    """The server, once it has answered the request `first` with 200; it has ended afterwards."""
    began = time.perf_counter()
    process = subprocess.Popen(command, env=os.environ | QUIET | environment, stderr=subprocess.DEVNULL)
    try:
        _wait_for_answer(name, process, port, first)
        seconds = time.perf_counter() - began
        yield Server(name, port, process, seconds, sum(_cpu_seconds(pid) for pid in _tree(process.pid)))
    finally:
        process.terminate()
        process.wait(60)


def ports(names: tuple[str, ...]) -> dict[str, int]:
    return {name: probes.free() for name in names}


def _wait_for_answer(name: str, process: subprocess.Popen[bytes], port: int, first: bytes) -> None:
    deadline, answer = time.monotonic() + READY_SECONDS, b""
    while not answer.startswith(b"HTTP/1.1 200"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server {name} did not answer; its last answer was {answer[:500]!r}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
            connection.settimeout(READY_SECONDS)
            connection.sendall(first)
            answer = connection.recv(65536)
        time.sleep(POLL_SECONDS)


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [pid, *(below for child in children for below in _tree(int(child)))]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(pid: int) -> tuple[float, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return kilobytes["Rss"] / 1024, kilobytes["Pss"] / 1024
