"""Where the CPU time of a prediction goes.

    python -m benchmarks.serving_profile [--before FOLDER] [--rounds 5] [--report docs/serving.md]

Sends uploads of 28x28 pixels to the application in its own process, one after the other and without a socket, with an
untrained CNN_v1 and every feature on, and times decoding, network and out-of-distribution score alone beside it. The
lowest of many short measurements counts, because neighbours only ever add. `--before` measures another checkout of
the same database schema by turns. Takes about a minute and a half. Expected: the network takes more than decoding and
score together, and keys, limits, headers, metrics, log, record and framework together more than the network. Writes one
section of the page.
"""

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MEASUREMENTS, TOGETHER = 40, 100  # the lowest of so many, each of so many answers
MAX_PIXELS = 40_000_000
REST = "keys, limits, headers, metrics, log, record, JSON, framework"


def main() -> int:
    from benchmarks.serving import lesions, stored
    from benchmarks.untrained import Untrained
    from workers.pipeline.backend import configure

    asked = _arguments()
    configure("tensorflow", seed=1)
    checkouts = {} if asked.before is None else {f"before (commit {_commit(asked.before)})": asked.before}
    checkouts["this version"] = Path()
    found: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory(prefix="serving-profile-") as temporary:
        folder = Path(temporary)
        images = lesions(folder)
        key, bundle = stored(folder / "service", Untrained("CNN_v1"))
        for number, image in enumerate(images):
            (folder / f"{number}.png").write_bytes(image)
        for number in range(asked.rounds):
            for name, checkout in checkouts.items():
                copy = folder / f"{len(found[name])}-{name}"
                shutil.copytree(folder / "service", copy)
                print(f"round {number + 1} of {asked.rounds}: {name}", file=sys.stderr)
                found[name].append(_in_checkout(checkout, [copy, key, copy / bundle.relative_to(folder / "service")]))
    _write(asked.report, {name: _lowest(rounds) for name, rounds in found.items()})
    return 0


def measured(folder: Path, key: str, bundle: Path) -> dict[str, float]:
    """Microseconds of CPU time: of a whole answer, and of its parts alone."""
    import numpy as np

    from benchmarks.serving import settings_in
    from models_store.scoring.out_of_distribution import load_distribution
    from models_store.scoring.scorer import FEATURES, Scorer
    from models_store.settings import Settings
    from models_store.store.bundles import DISTRIBUTION
    from service.app import create_app
    from service.predictions.engine.images import prepare
    from service.web import requests

    images = [path.read_bytes() for path in sorted(folder.parent.glob("*.png"))]
    sys.stderr = (folder / "log").open("w")
    requests.configure()
    app = create_app(Settings(**settings_in(folder), _env_file=None))
    whole = asyncio.run(_whole(app, images, key))
    scorer, distribution = Scorer(bundle / "model.onnx"), load_distribution(bundle / DISTRIBUTION)
    pixels = [prepare(image, 28, MAX_PIXELS).pixels[np.newaxis] for image in images]
    features = scorer.features(pixels[0])
    names = ["probability_malignant", FEATURES]
    return {
        "whole": whole,
        "decoding": _alone(lambda number: prepare(images[number % len(images)], 28, MAX_PIXELS)),
        "network": _alone(lambda number: scorer.session.run(names, {"image": pixels[number % len(images)]})),
        "out-of-distribution score": _alone(lambda _: distribution.score(features)),
    }


async def _whole(app: Any, images: Sequence[bytes], key: str) -> float:
    async with app.router.lifespan_context(app):
        uploads = [_upload(image, key) for image in images]
        return await _lowest_of(lambda number: _answer(app, *uploads[number % len(uploads)]))


def _upload(image: bytes, key: str) -> tuple[dict[str, Any], bytes]:
    """The scope of a request as ASGI has it, and its body."""
    from benchmarks import load

    head, _, body = load.upload(image, 80, [("Authorization", f"Bearer {key}")]).partition(b"\r\n\r\n")
    fields = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/predict",
        "raw_path": b"/predict",
        "root_path": "",
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in fields],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "state": {},
    }, body


async def _answer(app: Any, scope: dict[str, Any], body: bytes) -> None:
    messages: list[Mapping[str, Any]] = []
    coming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Mapping[str, Any]:
        if not coming:
            await asyncio.Event().wait()  # the client stays
        return coming.pop()

    async def send(message: Mapping[str, Any]) -> None:
        messages.append(message)

    await app(dict(scope), receive, send)
    if messages[0]["status"] != 200:
        raise RuntimeError(f"the service answered {messages[0]['status']}: {messages[1]['body']!r}")


async def _lowest_of(work: Callable[[int], Awaitable[object]]) -> float:
    lowest = float("inf")
    for start in range(0, MEASUREMENTS * TOGETHER, TOGETHER):
        began = time.process_time()
        for number in range(start, start + TOGETHER):
            await work(number)
        lowest = min(lowest, time.process_time() - began)
    return 1e6 * lowest / TOGETHER


def _alone(work: Callable[[int], object]) -> float:
    async def worked(number: int) -> object:
        return work(number)

    return asyncio.run(_lowest_of(worked))


def _commit(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _in_checkout(checkout: Path, given: Sequence[object]) -> dict[str, float]:
    paths = [checkout.resolve(), checkout.resolve() / "client", Path.cwd()]
    environment = {"PYTHONPATH": ":".join(map(str, paths)), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-P", str(Path(__file__).resolve()), "--measure", *map(str, given)]
    printed = subprocess.run(command, check=True, capture_output=True, env=os.environ | environment).stdout
    found: dict[str, float] = json.loads(printed)
    return found


def _lowest(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {part: min(each[part] for each in rounds) for part in rounds[0]}


def _write(path: Path, found: Mapping[str, Mapping[str, float]]) -> None:
    from benchmarks.serving_page import PROFILE_TITLE, with_section
    from workers.pipeline import machine

    parts = [part for part in next(iter(found.values())) if part != "whole"]
    rows = {part: [each[part] for each in found.values()] for part in parts}
    rows[REST] = [each["whole"] - sum(each[part] for part in parts) for each in found.values()]
    rows["an answer"] = [each["whole"] for each in found.values()]
    lines = [f"| {part} | {' | '.join(f'{value:.0f}' for value in values)} |" for part, values in rows.items()]
    section = f"""## {PROFILE_TITLE}

Microseconds of CPU time of one `POST /predict` with an untrained CNN_v1, a generated lesion of 28x28 pixels as PNG,
keys and everything else on, one at a time in the web process without a socket; the HTTP server comes on top. The lowest
of many short measurements. By `python -m benchmarks.serving_profile`, {machine.described()};
{datetime.now(UTC):%Y-%m-%d}, load average {os.getloadavg()[0]:.1f}.

| part | {" | ".join(found)} |
|{"---|" * (1 + len(found))}
""" + "\n".join(lines)
    path.write_text(with_section(path.read_text(), PROFILE_TITLE, section))
    print(section)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="folder of another checkout of this service to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--report", type=Path, default=Path("docs/serving.md"), help="the page with the section")
    return parser.parse_args()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measured(Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))))
    else:
        raise SystemExit(main())
