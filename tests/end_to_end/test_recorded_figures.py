"""What was recorded when the test set was opened is what comes back over HTTP, image by image."""

import io
import json
import shutil
import signal
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models_store.database import Database, now
from models_store.datasets.layout import read_split
from models_store.datasets.registration import register
from models_store.store.storage import Storage
from models_store.tables import DatasetRow
from tests.end_to_end.stack import Stack, eventually

EXPERIMENT: dict[str, Any] = {
    "dataset": "ham10000_28",
    "architectures": ["CNN_v1"],
    "strategies": [],
    "epochs": 1,
    "selection": {"policy": "val_recall_unguarded"},
    "promote": "always",
}
IMAGES_A_ZIP = 700
EVERY = 5  # every fifth image is sent by itself too


@pytest.fixture
def stack(real_data: Path, migrated_sqlite: Path, tmp_path: Path) -> Iterator[Stack]:
    """The whole product with real trials, two web processes, and the real images registered."""
    shutil.copyfile(migrated_sqlite, tmp_path / "test.db")
    settings = {"trial_module": "workers.trial", "lease_seconds": "60", "web_processes": "2"}
    stack = Stack(tmp_path, f"sqlite:///{tmp_path / 'test.db'}", settings)
    taken = register(real_data, EXPERIMENT["dataset"], storage=Storage(str(tmp_path / "store")))
    database = Database(stack.database_url)
    with database.write() as session:
        session.add(DatasetRow(**vars(taken), created_at=now(session)))
    database.close()
    try:
        stack.start()
        yield stack
    finally:
        if "web" in stack.processes:
            stack.kill("web", signal.SIGTERM)  # asked, it ends its two processes; killed, it would leave them
        stack.stop()


def png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def judged_in_zips(client: httpx.Client, images: list[bytes]) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = []
    for start in range(0, len(images), IMAGES_A_ZIP):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for number, content in enumerate(images[start : start + IMAGES_A_ZIP]):
                archive.writestr(f"{number:04}.png", content)
        answer = client.post("/v1/predict/batch", files={"files": ("images.zip", buffer.getvalue())})
        lines += [json.loads(line) for line in answer.raise_for_status().text.splitlines()]
    return [line["prediction"] for line in lines]


@pytest.mark.slow
def test_decisions_over_http_on_every_test_image_are_the_recorded_confusion_matrix(
    stack: Stack, real_data: Path
) -> None:
    # Given an experiment of the real images whose final evaluation is on record
    experiment_id = stack.submit(**EXPERIMENT)
    experiment = eventually(lambda: _ended(stack.read(experiment_id)), 300, "the end of the experiment")
    assert experiment["status"] == "succeeded", experiment
    result = experiment["result"]

    # When all its test images are judged over HTTP, many at once and some by themselves
    test = read_split(real_data, "test")
    images = [png(pixels) for pixels in test.images]
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.web_port}", timeout=120, trust_env=False) as client:
        eventually(lambda: client.get("/readyz").is_success, 10, "the promotion's arrival")
        eventually(lambda: _version(client, images[0]) == result["model_version"], 10, "an answer of the champion")
        judged = judged_in_zips(client, images)
        alone = [client.post("/predict", files={"file": ("a.png", image)}).json() for image in images[::EVERY]]

    # Then each is decided as it was on record
    assert len(judged) == len(test.images) == 2005
    for answer in (*judged, *alone):
        assert (answer["model_version"], answer["threshold"]) == (result["model_version"], result["threshold"])
        assert answer["label"] == ("malignant" if answer["probability_malignant"] >= answer["threshold"] else "benign")
    counted = Counter(zip(test.malignant.tolist(), (answer["label"] for answer in judged), strict=True))
    assert result["test"]["confusion"] == {
        "tn": counted[0, "benign"],
        "fp": counted[0, "malignant"],
        "fn": counted[1, "benign"],
        "tp": counted[1, "malignant"],
    }
    assert [answer["label"] for answer in alone] == [answer["label"] for answer in judged[::EVERY]]

    # And about one in a hundred of these lesions is called unlike the training images
    unlike = sum("unlike_training" in [warning["code"] for warning in answer["warnings"]] for answer in judged)
    assert unlike < 0.05 * len(judged)
    assert all(answer["unlikeness"] > 0 for answer in judged)


def _ended(experiment: dict[str, Any]) -> dict[str, Any] | None:
    return experiment if experiment["status"] in ("succeeded", "failed", "cancelled") else None


def _version(client: httpx.Client, image: bytes) -> str:
    answer = client.post("/predict", files={"file": ("a.png", image)})
    return str(answer.json().get("model_version", ""))
