"""An image unlike the training images is answered with a warning, recorded and counted; older models give none."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from models_store.settings import Settings
from service.web import metrics

MakeModel = Callable[..., str]


def image(brightness: int) -> bytes:
    pixels = np.full((28, 28, 3), brightness, np.uint8)
    pixels[0, 0] = (brightness, 0, 0)  # a trace of colour
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def predict(client: TestClient, brightness: int) -> Any:
    return client.post("/predict", files={"file": ("a.png", image(brightness))}).json()


@pytest.fixture
def counted() -> Callable[[], float]:
    def read() -> float:
        return (
            metrics.REGISTRY.get_sample_value("dermatriage_prediction_warnings_total", {"code": "unlike_training"})
            or 0.0
        )

    return read


def test_unlike_image_has_a_warning_that_is_recorded_and_counted(
    client: TestClient, make_model: MakeModel, counted: Callable[[], float]
) -> None:
    make_model(promote=True, cut=2.0)
    before = counted()
    usual, strange = predict(client, 150), predict(client, 250)
    assert usual["warnings"] == []
    assert usual["unlikeness"] == pytest.approx(10 * (150 / 255 - 0.5) / 2, abs=0.01)
    (warning,) = strange["warnings"]
    assert warning["code"] == "unlike_training"
    assert "2.4 times" in warning["message"]
    assert "Do not rely on this answer" in warning["message"]
    assert strange["unlikeness"] == pytest.approx(10 * (250 / 255 - 0.5) / 2, abs=0.01)
    recorded = client.get(f"/v1/predictions/{strange['prediction_id']}").json()
    assert recorded["warnings"] == ["unlike_training"]
    assert counted() == before + 1


def test_older_model_answers_without_unlikeness(client: TestClient, make_model: MakeModel) -> None:
    make_model(promote=True, cut=None)
    answer = predict(client, 250)
    assert (answer["unlikeness"], answer["warnings"]) == (None, [])


def test_bundle_with_an_altered_distribution_is_refused(
    app: FastAPI, make_model: MakeModel, settings: Settings
) -> None:
    make_model(promote=True)
    stored = next(Path(settings.store_url, "models").glob("*/likeness.npz"))
    content = stored.read_bytes()
    stored.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    app.state.service.predictor.refresh()
    assert app.state.service.predictor.serving is None
    assert "likeness.npz" in app.state.service.predictor.refusal.reason
