"""A watched command and all its processes end with the process that started it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from service.embedded import processes, watcher

WATCHER = [sys.executable, "-I", "-S", watcher.__file__]
TERM_IGNORING = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)
# A grandchild in a session of its own, as every trial is.
WITH_GRANDCHILD = (
    "import subprocess, sys, time; "
    "grandchild = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True); "
    "print(grandchild.pid, flush=True); time.sleep(60)"
)


def watched(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*WATCHER, sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def end(process: subprocess.Popen[bytes]) -> int:
    with process:
        assert process.stdin is not None
        process.stdin.close()
        return process.wait(20)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(("code", "exit_code"), [("", 0), ("raise SystemExit(7)", 7)])
def test_exit_code_of_the_command_is_passed_on(code: str, exit_code: int) -> None:
    with watched(code) as process:
        assert process.wait(20) == exit_code


def test_signal_that_ended_the_command_is_passed_on_as_128_plus_its_number() -> None:
    with watched("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") as process:
        assert process.wait(20) == 128 + signal.SIGKILL


@pytest.mark.skipif(not watcher.ON_LINUX, reason="adopting grandchildren needs Linux")
def test_grandchild_in_a_session_of_its_own_ends_too() -> None:
    process = watched(WITH_GRANDCHILD)
    grandchild = int(first_line(process))

    end(process)

    assert not is_alive(grandchild)


@pytest.mark.skipif(not watcher.ON_LINUX, reason="adopting grandchildren needs Linux")
def test_grandchild_ends_when_the_command_itself_is_killed() -> None:
    with watched(
        f"import os, signal; exec({WITH_GRANDCHILD.removesuffix(' time.sleep(60)')!r}); os.abort()"
    ) as process:
        grandchild = int(first_line(process))

        assert process.wait(20) == 128 + signal.SIGABRT
        assert not is_alive(grandchild)


def test_command_that_ignores_sigterm_is_killed_after_the_grace() -> None:
    impatient = (
        "import sys; from service.embedded import watcher; "
        "watcher.GRACE_SECONDS = 0.2; sys.exit(watcher.main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", impatient, sys.executable, "-c", TERM_IGNORING]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert first_line(process) == "deaf"

    started = time.monotonic()
    end(process)

    assert time.monotonic() - started < watcher.GRACE_SECONDS


def test_signals_to_the_watcher_do_not_separate_it_from_its_command() -> None:
    process = watched("import time; print('up', flush=True); time.sleep(60)")
    first_line(process)

    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        process.send_signal(ending)
    time.sleep(0.3)

    assert process.poll() is None
    assert end(process) == 128 + signal.SIGTERM


@pytest.mark.skipif(not watcher.ON_LINUX, reason="the parent-death signal needs Linux")
def test_command_ends_when_the_watcher_is_killed() -> None:
    process = watched("import os, time; print(os.getpid(), flush=True); time.sleep(60)")
    command = int(first_line(process))

    process.kill()
    end(process)

    assert eventually(lambda: not is_alive(command))


def test_log_tail_is_the_end_of_the_log(tmp_path: Path) -> None:
    code = "print(*range(100), sep='\\n')"
    process = processes.start("counter", [sys.executable, "-c", code], tmp_path / "log" / "counter.log", {})

    assert eventually(lambda: process.exit_code is not None)
    process.stop()

    assert process.log_tail().splitlines() == [str(line) for line in range(85, 100)]
