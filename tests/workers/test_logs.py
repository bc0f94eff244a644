"""A worker and a sweeper print only JSON, like the web process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest


# A sweeper logs only errors: its database here has no table.
@pytest.mark.parametrize(
    ("module", "message"), [("workers", "ready."), ("workers.sweeper", "the database did not answer")]
)
def test_every_line_is_json(module: str, message: str, broker_url: str, migrated_sqlite: Path, tmp_path: Path) -> None:
    if module == "workers":
        shutil.copyfile(migrated_sqlite, tmp_path / "test.db")
    settings = {
        "DERMATRIAGE_DATABASE_URL": f"sqlite:///{tmp_path}/test.db",
        "DERMATRIAGE_BROKER_URL": broker_url,
        "DERMATRIAGE_STORE_URL": str(tmp_path / "store"),
        "DERMATRIAGE_WORK_ROOT": str(tmp_path / "work"),
        "DERMATRIAGE_SWEEP_SECONDS": "0.2",
    }
    printed = tmp_path / "log.txt"
    with printed.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module], env=os.environ | settings, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            wait_for(message, printed, process)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
            process.wait()
    lines = [json.loads(line) for line in printed.read_text().splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(line) for line in lines)


def wait_for(words: str, printed: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while words not in printed.read_text():
        assert process.poll() is None, printed.read_text()
        assert time.monotonic() < deadline, printed.read_text()
        time.sleep(0.1)
