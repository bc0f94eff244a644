"""``python -m tools.deploy_figures``: measures the deployment on this machine and writes docs/operations.md's table.

Builds the images of a clean clone of the last commit without the layer cache, starts them
on empty volumes, trains CNN_v1 on the real images for three epochs and sends images to `/predict` from sixteen clients.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from tests.deploy.installing import IMAGES, REPOSITORY, clean_clone, configure, new_stack, remove
from tests.deploy.stack import Stack

PAGE = REPOSITORY / "docs" / "operations.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
DATA = REPOSITORY.parent / "shared" / "data" / "ham10000_28.npz"
REAL = "ham10000_28"
CLIENTS = 16
LOAD_SECONDS = 20.0
RATE = {"DERMATRIAGE_REQUESTS_PER_MINUTE": "1000000"}
Row = tuple[str, str]


def main() -> None:
    if not DATA.exists():
        sys.exit(f"the real data set is not at {DATA}; these figures need it")
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="figures-") as folder:
        stack = new_stack(clean_clone(Path(folder) / "clone"), "figures")
        configure(stack, DATA)
        stack.write_settings(**RATE)
        try:
            rows = [*build(stack), *start(stack), *train(stack), *serve(stack)]
        finally:
            remove(stack)
    write(rows, load, PAGE)


def build(stack: Stack) -> list[Row]:
    rows = []
    for service, image in (("web", "web"), ("worker-cpu", "worker")):
        seconds = timed(lambda service=service: stack.build("--no-cache", service))  # type: ignore[misc]
        bytes_, base = size(stack, f"{IMAGES}/{image}:{stack.project}"), size(stack, "python:3.11-slim")
        rows.append(
            (f"image `{image}`", f"{bytes_ / 1e6:,.0f} MB, of which {base / 1e6:,.0f} MB are `python:3.11-slim`")
        )
        rows.append((f"build of `{image}` without cached layers", f"{seconds:.0f} s"))
    return rows


def start(stack: Stack) -> list[Row]:
    everything = timed(stack.up)
    stack.make_key()
    [web] = stack.containers("web")
    stack.run("docker", "stop", web)
    alone = timed(lambda: (stack.run("docker", "start", web), stack.get("/healthz"))[1])
    return [
        ("first start on empty volumes, until everything is healthy", f"{everything:.0f} s"),
        ("start of `web`, until it answers", f"{alone:.1f} s"),
        ("memory of `web` without a model", memory(stack, "web")),
        ("memory of an idle worker", memory(stack, "worker-cpu")),
        ("memory of the sweeper", memory(stack, "sweeper")),
    ]


def train(stack: Stack) -> list[Row]:
    stack.dermatriage("dataset", "register", "--direct", f"/var/lib/dermatriage/data/{REAL}.npz", "--name", REAL)
    identifier = stack.submit(
        **{"dataset": REAL, "architectures": ["CNN_v1"], "epochs": 3, "patience": 3, "strategies": []},
        **{"selection": {"policy": "specificity_at_recall"}, "promote": "always"},
    )
    stack.wait_until(lambda: stack.running_trial(identifier), "an epoch", 300)
    training = memory(stack, "worker-cpu")
    ended = stack.wait_for_success(identifier)
    seconds = stack.in_database("SELECT avg(seconds) FROM epochs WHERE number > 1")
    whole = datetime.fromisoformat(ended["finished_at"]) - datetime.fromisoformat(ended["created_at"])
    return [
        ("CNN_v1, one epoch on 7,007 real images", f"{float(seconds):.1f} s"),
        ("CNN_v1, an experiment with one trial of three epochs", f"{whole.total_seconds():.0f} s"),
        ("memory of a worker that trains CNN_v1", training),
    ]


def serve(stack: Stack) -> list[Row]:
    image = lesion()
    stack.predict(image)
    deadline = time.monotonic() + LOAD_SECONDS
    with ThreadPoolExecutor(CLIENTS) as clients:
        taken = [
            seconds
            for client in clients.map(lambda _: predict_until(stack, image, deadline), range(CLIENTS))
            for seconds in client
        ]
    p50, p99 = np.percentile(taken, [50, 99]) * 1000
    return [
        (f"`/predict` with CNN_v1, {CLIENTS} clients, one web process", f"{len(taken) / LOAD_SECONDS:,.0f} a second"),
        ("the same, p50 and p99", f"{p50:.0f} ms and {p99:.0f} ms"),
        ("memory of `web` with CNN_v1, after that", memory(stack, "web")),
    ]


def predict_until(stack: Stack, image: bytes, deadline: float) -> list[float]:
    """One client: as many predictions as fit before the deadline; the seconds of each."""
    taken = []
    headers = {"Authorization": f"Bearer {stack.key}"}
    with httpx.Client(
        base_url=f"http://127.0.0.1:{stack.port}", headers=headers, trust_env=False, timeout=30
    ) as client:
        while time.monotonic() < deadline:
            began = time.monotonic()
            client.post("/predict", files={"file": ("lesion.png", image, "image/png")}).raise_for_status()
            taken.append(time.monotonic() - began)
    return taken


def lesion() -> bytes:
    with np.load(DATA) as data:
        content = BytesIO()
        Image.fromarray(data["test_images"][0]).save(content, "png")
    return content.getvalue()


def size(stack: Stack, image: str) -> int:
    """In bytes, unpacked."""
    return int(stack.run("docker", "image", "inspect", "--format", "{{.Size}}", image))


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def memory(stack: Stack, service: str) -> str:
    [container] = stack.containers(service)
    used: str = json.loads(stack.run("docker", "stats", "--no-stream", "--format", "json", container))["MemUsage"]
    return used.partition(" /")[0].replace("MiB", " MiB").replace("GiB", " GiB")


def write(rows: list[Row], load: float, page: Path) -> None:
    """Replaces the text between the two marks. `load`: the machine's load average when it began, 0 if idle."""
    engine = subprocess.run(
        ["docker", "version", "--format", "{{.Server.Version}}"], check=True, capture_output=True, text=True
    ).stdout.strip()
    commit = subprocess.run(
        ["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    measured = (
        f"Measured by `make deploy-figures` on {datetime.now(UTC):%Y-%m-%d} with {os.cpu_count()} cores whose load "
        f"average before it was {load:.1f}, Docker {engine}, commit {commit}, clients on the same machine. Data: "
        "HAM10000 at 28x28, seed 42. The build downloads every package."
    )
    table = ["| what | measured |", "|---|---|", *(f"| {what} | {value} |" for what, value in rows)]
    before, _, rest = page.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n" + "\n".join([measured, "", *table]) + f"\n{END}{after}")


if __name__ == "__main__":
    main()
