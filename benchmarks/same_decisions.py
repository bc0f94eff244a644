"""Whether all ways to a prediction give the same decision, on the test images of a data set file.

    python -m benchmarks.same_decisions path.npz [--images 2005]

Exports an untrained CNN_v1, serves it, and sends the first test images of the file three ways: to `POST /predict` (16
clients at once, so that images share runs), to `POST /v2/models/dermatriage/infer` (64 images a request), and to the
bundle's own `predict.py`. Prints how many images each way calls malignant, on how many it differs from `predict.py`,
and the largest difference of a probability. Expected: no decision differs, and probabilities by less than 1e-6. A
decision that differs makes the exit status 1.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks import load, servers
from benchmarks.serving import settings_in, stored
from benchmarks.untrained import Untrained
from models_store.datasets.layout import read_split

CLIENTS, TOGETHER = 16, 64
BUNDLE = "predict.py of the bundle"


@dataclass(frozen=True)
class Decision:
    label: str
    probability: float


Decisions = Sequence[Decision]


def main() -> int:
    arguments = _arguments()
    images = read_split(arguments.data, "test").images[: arguments.images]
    with tempfile.TemporaryDirectory(prefix="same-decisions-") as name:
        decided = decide(images, Path(name))
    print(table(decided))
    return int(any(differing(each, decided[BUNDLE]) for each in decided.values()))


def decide(images: NDArray[np.uint8], folder: Path) -> Mapping[str, Decisions]:
    """The decisions of each way about images uint8 (N, S, S, 3), in order."""
    key, bundle = stored(folder / "service", Untrained("CNN_v1"))
    port = servers.ports(("a",))["a"]
    authorization = ("Authorization", f"Bearer {key}")
    contents = [_png(image) for image in images]
    command, environment = servers.service(settings_in(folder / "service"), port)
    first = load.upload(contents[0], port, [authorization])
    with (
        servers.running("a", command, environment, port, first),
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=[authorization], timeout=60, trust_env=False
        ) as client,
    ):
        return {
            "POST /predict": _by_upload(client, contents),
            "V2 infer": _by_tensor(client, images),
            BUNDLE: _by_bundle(bundle, contents, folder),
        }


def differing(one: Decisions, other: Decisions) -> int:
    return sum(mine.label != theirs.label for mine, theirs in zip(one, other, strict=True))


def table(decided: Mapping[str, Decisions]) -> str:
    lines = ["| way | images | malignant | other decision | largest difference |", "|---|---|---|---|---|"]
    for name, decisions in decided.items():
        pairs = zip(decisions, decided[BUNDLE], strict=True)
        apart = max(abs(one.probability - other.probability) for one, other in pairs)
        malignant = sum(one.label == "malignant" for one in decisions)
        others = differing(decisions, decided[BUNDLE])
        lines.append(f"| {name} | {len(decisions):,} | {malignant:,} | {others:,} | {apart:.1e} |")
    return "\n".join(lines)


def _by_upload(client: httpx.Client, contents: Sequence[bytes]) -> Decisions:
    def ask(content: bytes) -> Decision:
        return _decision(client.post("/predict", files={"file": ("lesion.png", content)}).raise_for_status().json())

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(ask, contents))


def _by_tensor(client: httpx.Client, images: NDArray[np.uint8]) -> Decisions:
    decisions: list[Decision] = []
    for start in range(0, len(images), TOGETHER):
        some = images[start : start + TOGETHER]
        tensor = {"name": "image", "datatype": "UINT8", "shape": list(some.shape), "data": some.ravel().tolist()}
        answer = client.post("/v2/models/dermatriage/infer", json={"inputs": [tensor]}).raise_for_status().json()
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        decisions += map(Decision, outputs["label"], outputs["probability_malignant"])
    return decisions


def _by_bundle(bundle: Path, contents: Sequence[bytes], folder: Path) -> Decisions:
    paths = [folder / f"{number}.png" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    command = [sys.executable, str(bundle / "predict.py"), *map(str, paths)]
    answers = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["answers"]
    return [_decision(answer) for answer in answers]


def _decision(answer: Mapping[str, Any]) -> Decision:
    return Decision(answer["label"], answer["probability_malignant"])


def _png(image: NDArray[np.uint8]) -> bytes:
    picture = io.BytesIO()
    Image.fromarray(image).save(picture, "PNG")
    return picture.getvalue()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set file of 28x28 pixels")
    parser.add_argument("--images", type=int, default=2005, help="how many of its test images")
    return parser.parse_args()


if __name__ == "__main__":
    from workers.pipeline.backend import configure

    configure("tensorflow", seed=1)
    raise SystemExit(main())
