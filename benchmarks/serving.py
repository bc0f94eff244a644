"""How fast predictions are, beside what one would write otherwise and beside the floor.

    python -m benchmarks.serving [--seconds 1] [--rounds 8] [--processes 1] [--before FOLDER] [--report docs/serving.md]

Servers on this machine with as many processes and threads: (a) this service with every feature on, (b) FastAPI around
Keras' `model.predict`, (c) a bare FastAPI endpoint that decodes and calls ONNX Runtime, (d) BentoML with adaptive
batching, installed from PyPI into a virtual environment of its own. `--before` adds this service as another checkout
has it, with the same database schema. 1, 16 and 64 clients upload images of 28x28 pixels to CNN_v1 and ResNet_v1, the
servers by turns, so that whatever else the machine does falls on all alike. Takes about seven minutes on two cores.
Expected: on CNN_v1 at 16 clients (a) answers 40 times as much as (b) and about as much as (c), on ResNet_v1 as much as
(c). An answer other than 200 makes the exit status 1.
"""

import argparse
import io
import json
import os
import shutil
import signal
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from benchmarks import load, servers
from benchmarks.servers import Server
from benchmarks.serving_page import BEFORE, Cell, Measured, write_page
from benchmarks.untrained import Untrained, promote_untrained
from migrations import migrated
from models_store.datasets.layout import read_split
from models_store.datasets.synthetic import generate
from models_store.settings import Settings
from service.access import keys

ARCHITECTURES = ("CNN_v1", "ResNet_v1")
CLIENTS = (1, 16, 64)
NAMES = ("a", "b", "c", "d")
STARTS = 3
HEATMAPS = 15
NO_LIMIT = 10**9  # requests a minute: a single key asks for everything here


def main() -> int:
    asked = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # so that every server ends too
    busy_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="serving-") as name:
        images, bento = lesions(Path(name)), servers.bento_environment(Path(name) / "bento")
        measured = [
            measure(architecture, Path(name) / architecture, images, bento, asked) for architecture in ARCHITECTURES
        ]
    write_page(asked.report, measured, asked, busy_before)
    print(asked.report.read_text())
    return int(any(cell.load.failed for each in measured for cells in each.cells.values() for cell in cells))


def measure(
    architecture: str, folder: Path, images: Sequence[bytes], bento: Path, asked: argparse.Namespace
) -> Measured:
    """Starts the servers, lets them answer by turns, and asks the kernel what they took."""
    key, model = stored(folder, Untrained(architecture))
    names = NAMES if asked.before is None else (*NAMES, BEFORE)
    at = servers.ports(names)
    headers = [("Authorization", f"Bearer {key}")]
    requests = {name: [load.upload(image, at[name], headers) for image in images] for name in names}
    commands = {
        "a": servers.service(settings_in(folder) | {"web_processes": asked.processes}, at["a"]),
        "b": servers.peer("keras_predict", model / "model.keras", at["b"], asked.processes, asked.threads),
        "c": servers.peer("floor", model / "model.onnx", at["c"], asked.processes, asked.threads),
        "d": servers.bento(bento, model / "model.onnx", at["d"], asked.processes, asked.threads),
    }
    if asked.before is not None:
        copy = folder.with_name(f"{folder.name}-before")
        shutil.copytree(folder, copy)
        settings = settings_in(copy) | {"web_processes": asked.processes}
        commands[BEFORE] = servers.service(settings, at[BEFORE], asked.before)
    found = Measured(architecture)
    for name in ("a", "c") * (STARTS - 1):  # once is enough for what takes ten seconds
        with servers.running(name, *commands[name], at[name], requests[name][0]) as server:
            found.starts.setdefault(name, []).append((server.start_seconds, server.start_cpu_seconds))
    print(f"{architecture}: started each server; now all of them", file=sys.stderr)
    with ExitStack() as stack:
        started = [
            stack.enter_context(servers.running(name, *commands[name], at[name], requests[name][0])) for name in names
        ]
        for server in started:
            found.starts.setdefault(server.name, []).append((server.start_seconds, server.start_cpu_seconds))
            load.measure(server.port, requests[server.name], 1, 1.0)  # the first answers are slower
        for round_number in range(asked.rounds):
            print(f"{architecture}: round {round_number + 1} of {asked.rounds}", file=sys.stderr)
            for clients in CLIENTS:
                for server in (each for each in started if round_number % found.stride(each.name) == 0):
                    cell = _ask(server, requests[server.name], clients, asked.seconds)
                    found.cells.setdefault((server.name, clients), []).append(cell)
        found.memory = {server.name: server.megabytes() for server in started}
        found.heatmap_milliseconds = _heatmap(at["a"], images, headers)
    return found


def _ask(server: Server, requests: Sequence[bytes], clients: int, seconds: float) -> Cell:
    before = server.cpu_seconds()
    seen = load.measure(server.port, requests, clients, seconds)
    return Cell(seen, 1000 * (server.cpu_seconds() - before) / len(seen.milliseconds))


def _heatmap(port: int, images: Sequence[bytes], headers: Sequence[tuple[str, str]]) -> float:
    """Median of the milliseconds that answers with a heatmap say it took."""
    taken = []
    for image in images[:HEATMAPS]:
        head, _, body = load.upload(image, port, headers).partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/predict?explain=true", body, fields)
        with urllib.request.urlopen(asked, timeout=60) as answer:
            taken.append(json.load(answer)["explanation"]["milliseconds"])
    return statistics.median(taken)


def stored(folder: Path, network: Untrained, *, others: Sequence[Untrained] = (), views: int = 1) -> tuple[str, Path]:
    """An API key, and the folder in the store of the bundle of a model that `promote_untrained` makes."""
    settings = Settings(**settings_in(folder), _env_file=None)
    with migrated(settings.database_url) as database:
        bundle = promote_untrained(network, settings, database, others=others, views=views)
        with database.write() as session:
            text = keys.create(session, "benchmark", ["predict"])[1]
    return text, folder / "store" / bundle


def settings_in(folder: Path) -> dict[str, object]:
    return {
        "database_url": f"sqlite:///{folder / 'dermatriage.db'}",
        "store_url": str(folder / "store"),
        "cache_root": str(folder / "cache"),
        "auth": "keys",
        "requests_per_minute": NO_LIMIT,
    }


def lesions(folder: Path) -> list[bytes]:
    """Generated lesions as PNG, some two kilobytes each."""
    generate(folder / "images.npz", counts=(320, 160, 80), seed=2)
    contents = []
    for pixels in read_split(folder / "images.npz", "test").images:
        picture = io.BytesIO()
        Image.fromarray(pixels).save(picture, "PNG")
        contents.append(picture.getvalue())
    return contents


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each server, number of clients and round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--processes", type=int, default=1, help="web processes of each server")
    parser.add_argument("--threads", type=int, default=1, help="threads of one run of the network")
    parser.add_argument("--before", type=Path, help="folder of another checkout of this service to compare with")
    parser.add_argument("--report", type=Path, default=Path("docs/serving.md"), help="where to write the page")
    return parser.parse_args()


if __name__ == "__main__":
    from workers.pipeline.backend import configure

    configure("tensorflow", seed=1)
    raise SystemExit(main())
