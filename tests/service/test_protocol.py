"""What only a real server shows: giant heads, slow senders, several processes, and one log line a request."""

import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from models_store.settings import Settings
from service.embedded import probes
from service.web.protocol import MAX_HEAD_BYTES

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def server(settings: Settings, tmp_path: Path) -> Iterator[str]:
    """Two web processes, with a deadline of one second for a body; the log lies in `tmp_path`."""
    port = probes.free()
    values = settings.model_dump(exclude_none=True) | {"port": port, "web_processes": 2, "upload_seconds": 1}
    environment = os.environ | {f"DERMATRIAGE_{name.upper()}": str(value) for name, value in values.items()}
    with (tmp_path / "web.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "service.web"], cwd=ROOT, env=environment, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            deadline = time.monotonic() + 30
            while not _answers(url):
                assert time.monotonic() < deadline, (tmp_path / "web.log").read_text()
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).is_success
    except httpx.TransportError:
        return False


def _exchange(url: str, sent: bytes, patience: float = 5) -> bytes:
    with closing(socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), patience)) as connection:
        received = b""
        try:
            connection.sendall(sent)
            while part := connection.recv(65536):
                received += part
        except (ConnectionError, TimeoutError):
            pass
        return received


def test_two_processes_answer_as_one_and_are_not_blocked_by_slow_clients(
    server: str, make_model: Callable[..., str], tmp_path: Path
) -> None:
    giant = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (8 * MAX_HEAD_BYTES)
    assert not _exchange(server, giant).startswith(b"HTTP/1.1 2")
    slow = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    began = time.monotonic()
    assert _exchange(server, slow + b"Content-Length: 100000\r\n\r\n--x\r\n").startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 4

    buffer = io.BytesIO()
    Image.fromarray(np.full((28, 28, 3), 99, np.uint8)).save(buffer, "PNG")
    version = make_model(promote=True)
    time.sleep(2)  # a promotion reaches every process in this time
    number = 20
    for _ in range(number):  # a connection each, so that both processes answer
        answer = httpx.post(f"{server}/predict", files={"file": ("a.png", buffer.getvalue())}, trust_env=False)
        assert answer.json()["model_version"] == version
    second = make_model(threshold=0.7, promote=True)
    time.sleep(2)  # the change reaches both processes in this time
    for _ in range(number):
        answer = httpx.post(f"{server}/predict", files={"file": ("a.png", buffer.getvalue())}, trust_env=False)
        assert (answer.json()["model_version"], answer.json()["threshold"]) == (second, 0.7)
    metrics = httpx.get(f"{server}/metrics", trust_env=False).text
    counts = [line for line in metrics.splitlines() if line.startswith("dermatriage_predictions_total{")]
    assert [float(line.split()[-1]) for line in counts] == [number, number]

    lines = [json.loads(line) for line in (tmp_path / "web.log").read_text().splitlines()]
    answers = [line for line in lines if line.get("route") == "/predict" and line["status"] == 200]
    assert len({line["request_id"] for line in answers}) == 2 * number
    assert answer.headers["X-Request-Id"] in {line["request_id"] for line in answers}
