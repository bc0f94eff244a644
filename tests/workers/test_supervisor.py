"""The five ways in which a trial's process ends; it never outlives its supervision."""

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Timer
from typing import Any

import pytest

from models_store.contract.outcomes import Collapsed, Epoch, Exit, Message
from models_store.runs import ClaimState
from workers.worker.supervisor import supervise

COLLAPSED = Collapsed(reason="no epoch was eligible", environment={})
OUTCOME = COLLAPSED.model_dump_json()


def always(claim_state: ClaimState) -> Callable[[Sequence[Message]], ClaimState]:
    return lambda _messages: claim_state


def run(folder: Path, script: str, observe: Any = None, stopping: Event | None = None) -> Exit:
    return supervise(
        [sys.executable, "-c", "import os, pathlib, sys, time\nfolder = pathlib.Path(sys.argv[1])\n" + script],
        folder,
        observe or always("ours"),
        stopping or Event(),
        heartbeat_seconds=0.1,
        poll_seconds=0.02,
    )


def process_is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_outcome_of_a_finished_process_is_read(tmp_path: Path) -> None:
    ended = run(tmp_path, f"(folder / 'outcome.json').write_text('''{OUTCOME}''')")

    assert ended.reason == "finished"
    assert ended.outcome == COLLAPSED


def test_every_message_is_observed_once_and_in_order(tmp_path: Path) -> None:
    seen: list[Message] = []

    def observe(messages: Sequence[Message]) -> ClaimState:
        seen.extend(messages)
        return "ours"

    run(
        tmp_path,
        "out = (folder / 'messages.jsonl').open('a')\n"
        "for number in range(50):\n"
        '    half = \'{"kind": "epoch", "metrics": {}, "seconds": 1, "eligible": true, "best": true, \'\n'
        "    out.write(half); out.flush(); time.sleep(0.003)\n"
        "    out.write(f'\"number\": {number}}}\\n'); out.flush()\n"
        f"(folder / 'outcome.json').write_text('''{OUTCOME}''')",
        observe,
    )

    assert [message.number for message in seen if isinstance(message, Epoch)] == list(range(50))


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("sys.exit(3)", "exit code 3"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("os.kill(os.getpid(), 9)", "out of memory"),
        ("raise ValueError('the loss is NaN')", "the loss is NaN"),
    ],
)
def test_process_without_an_outcome_has_crashed_with_a_readable_cause(tmp_path: Path, script: str, cause: str) -> None:
    ended = run(tmp_path, script)

    assert ended.reason == "crashed"
    assert cause in ended.cause


@pytest.mark.parametrize(("claim_state", "reason"), [("cancelling", "cancelled"), ("lost", "lost")])
def test_cancelled_or_lost_trial_takes_its_whole_process_group_along(
    tmp_path: Path, claim_state: ClaimState, reason: str
) -> None:
    # Given a trial whose child ignores every signal that it can
    script = (
        "import signal, subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import signal, time\\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\ntime.sleep(60)'])\n"
        "(folder / 'pids').write_text(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(60)"
    )

    # When the state of its claim changes once it runs
    ended = run(tmp_path, script, lambda _messages: claim_state if (tmp_path / "pids").exists() else "ours")

    # Then neither process is left
    assert ended.reason == reason
    deadline = time.monotonic() + 5
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    while not all(process_is_gone(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(process_is_gone(pid) for pid in pids)


def test_stopping_worker_ends_its_trial(tmp_path: Path) -> None:
    stopping = Event()
    Timer(0.3, stopping.set).start()

    ended = run(tmp_path, "time.sleep(60)", stopping=stopping)

    assert ended.reason == "stopped"


def test_process_ends_when_its_supervisor_dies(tmp_path: Path) -> None:
    # Given a supervisor that is killed
    script = (
        "import sys\nfrom threading import Event\nfrom pathlib import Path\n"
        "from workers.worker.supervisor import supervise\n"
        "import threading, os\n"
        "threading.Timer(1.5, lambda: os.kill(os.getpid(), 9)).start()\n"
        "supervise([sys.executable, '-c', 'import os, pathlib, sys, time;"
        " from workers.trial.protocol import end_with_the_worker;"
        ' end_with_the_worker(); (pathlib.Path(sys.argv[1]) / "pid").write_text(str(os.getpid())); time.sleep(60)\'],'
        " Path(sys.argv[1]), lambda m: 'ours', Event(), heartbeat_seconds=1)"
    )
    supervisor = os.spawnl(os.P_NOWAIT, sys.executable, sys.executable, "-c", script, str(tmp_path))
    os.waitpid(supervisor, 0)

    # Then the trial's process is gone soon after
    deadline = time.monotonic() + 5
    pid = int((tmp_path / "pid").read_text())
    while not process_is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process_is_gone(pid)
