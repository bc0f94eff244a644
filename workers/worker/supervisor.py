"""One subprocess for each trial: its exit frees the GPU and all memory, and a cancellation kills its process group."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Literal

from models_store.contract.outcomes import Exit, Message
from models_store.runs import ClaimState
from workers.trial.protocol import LOG, MessageReader, read_outcome

Observe = Callable[[Sequence[Message]], ClaimState]
LOG_TAIL_BYTES = 4000
KILL_WAIT_SECONDS = 5.0


def supervise(
    command: Sequence[str],
    folder: Path,
    observe: Observe,
    stopping: Event,
    *,
    heartbeat_seconds: float,
    limit_seconds: float = float("inf"),
    poll_seconds: float = 0.2,
    environment: Mapping[str, str] | None = None,
) -> Exit:
    """Runs `command` on `folder` to its end. When this returns, no process of its group is left.

    `observe` gets the new messages at least every `heartbeat_seconds` and returns the state of the claim; on
    "cancelling" or "lost", once `stopping` is set, or after `limit_seconds`, the process group is killed.
    """
    messages = MessageReader(folder)
    with (folder / LOG).open("ab") as log:
        process = subprocess.Popen(
            [*command, str(folder)],
            stdin=subprocess.PIPE,  # its end of file ends the process if this worker dies
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            ended_by = _watch(process, messages, observe, stopping, heartbeat_seconds, limit_seconds, poll_seconds)
        finally:
            _kill_group(process)
    if ended_by is not None:
        return Exit(reason=ended_by)
    observe(messages.new())
    outcome = read_outcome(folder)
    if outcome is not None:
        return Exit(reason="finished", outcome=outcome)
    return Exit(reason="crashed", cause=_cause(process.returncode, folder))


def _watch(
    process: subprocess.Popen[bytes],
    messages: MessageReader,
    observe: Observe,
    stopping: Event,
    heartbeat_seconds: float,
    limit_seconds: float,
    poll_seconds: float,
) -> Literal["cancelled", "lost", "stopped", "overdue"] | None:
    last_heartbeat = float("-inf")
    deadline = time.monotonic() + limit_seconds
    while process.poll() is None:
        if stopping.is_set():
            return "stopped"
        if time.monotonic() > deadline:
            return "overdue"
        new = messages.new()
        if new or time.monotonic() - last_heartbeat >= heartbeat_seconds:
            claim_state = observe(new)
            last_heartbeat = time.monotonic()
            if claim_state != "ours":
                return "cancelled" if claim_state == "cancelling" else "lost"
        with suppress(subprocess.TimeoutExpired):
            process.wait(poll_seconds)
    return None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # A grandchild may still run after the leader has ended, so the group is killed in every case.
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(KILL_WAIT_SECONDS)
    if process.stdin is not None:
        process.stdin.close()


def _cause(returncode: int, folder: Path) -> str:
    tail = (folder / LOG).read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
    if returncode >= 0:
        how = f"the trial's process ended with exit code {returncode} and no outcome"
    elif returncode == -signal.SIGKILL:
        how = "the trial's process was killed (SIGKILL), most often because the machine ran out of memory"
    else:
        how = f"the trial's process died of {signal.Signals(-returncode).name}"
    return f"{how}; the end of its log: {tail}" if tail else how
