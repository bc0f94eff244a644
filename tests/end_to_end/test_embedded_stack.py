"""`dermatriage up` as a person runs it: real processes, and none left however it ends."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from dermatriage_client import Client

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finding every process needs /proc")
MARK = "DERMATRIAGE_TEST_MARK"
BOOT_SECONDS = 120
END_SECONDS = 30


class Up:
    """One `dermatriage up` in a process of its own; `pids` finds everything that it started, wherever it hides."""

    def __init__(self, folder: Path, *arguments: str, through: tuple[str, ...] = ()) -> None:
        self.mark = uuid.uuid4().hex
        self.folder = folder
        self.output = folder / "output.txt"
        command = [*through, sys.executable, "-m", "service.cli", "up", "--var", str(folder / "var"), *arguments]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command, stdout=output, stderr=output, env=self._environment(), start_new_session=True
            )

    def _environment(self) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DERMATRIAGE_")}
        return inherited | {MARK: self.mark}

    def pids(self) -> dict[int, str]:
        """Command lines of every process whose environment carries our mark, by process id."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (command := self._command(entry)):
                found[int(entry.name)] = command
        return found

    def _command(self, entry: Path) -> str:
        try:
            if f"{MARK}={self.mark}".encode() not in (entry / "environ").read_bytes():
                return ""
            return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            return ""

    @property
    def said(self) -> str:
        return self.output.read_text()

    def url(self) -> str:
        assert eventually(lambda: "DermaTriage runs" in self.said or self.process.poll() is not None, BOOT_SECONDS)
        address = re.search(r"API\s+(http://\S+)/docs", self.said)
        assert address is not None, self.said
        return address[1]

    def pid_of(self, words: str) -> int:
        (pid,) = (pid for pid, line in self.pids().items() if words in line and "watcher.py" not in line)
        return pid

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(END_SECONDS)


def eventually(condition: Callable[[], object], seconds: float = END_SECONDS) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path, "--port", "0")
    yield started
    started.process.kill()
    started.process.wait()
    assert eventually(lambda: not started.pids())


@pytest.mark.parametrize(
    "ending", [signal.SIGINT, *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGTERM, signal.SIGHUP))]
)
def test_stack_answers_and_ends_with_0_and_no_process_left(up: Up, ending: signal.Signals) -> None:
    url = up.url()
    with Client(url) as client:
        assert list(client.models()) == []
    assert httpx.get(f"{url}/docs").is_success
    running = " ".join(up.pids().values())
    assert all(part in running for part in ("valkey-server", "-m workers ", "-m workers.sweeper", "-m service.web"))

    assert up.end(ending) == 0

    assert up.pids() == {}
    assert "Traceback" not in up.said


def test_killed_launcher_takes_everything_with_it(up: Up) -> None:
    up.url()

    up.end(signal.SIGKILL)

    assert eventually(lambda: not up.pids()), up.pids()


@pytest.mark.slow
def test_dead_worker_ends_the_stack_with_the_end_of_its_log(up: Up) -> None:
    up.url()

    os.kill(up.pid_of("-m workers "), signal.SIGKILL)

    assert up.process.wait(END_SECONDS) == 1
    assert "the worker ended with exit code 137" in up.said
    assert "worker.log" in up.said
    assert up.pids() == {}


@pytest.mark.slow
def test_second_stack_on_the_same_folder_is_refused(up: Up, tmp_path: Path) -> None:
    up.url()
    (tmp_path / "second").mkdir()

    second = Up(tmp_path / "second", "--port", "0", "--var", str(up.folder / "var"))

    assert second.process.wait(END_SECONDS) == 1
    assert "already runs" in second.said
    assert up.process.poll() is None


def test_taken_port_is_named_with_the_way_to_another(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = Up(tmp_path, "--port", str(port))

        assert refused.process.wait(BOOT_SECONDS) == 1

    assert f"127.0.0.1:{port}" in refused.said
    assert "--port" in refused.said
    assert refused.pids() == {}


def test_stack_ends_when_the_make_that_started_it_is_killed(tmp_path: Path) -> None:
    shell = ("/bin/sh", "-c", '"$@"; exit $?', "make")
    up = Up(tmp_path, "--port", "0", "--with-parent", through=shell)
    up.url()

    up.process.kill()
    up.process.wait()

    assert eventually(lambda: not up.pids()), up.pids()
