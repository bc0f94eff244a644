"""A model that predicts diagnoses gives the probability of each; the threshold still decides."""

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from dermatriage_client.schemas import BatchLine, Prediction
from models_store.datasets.labels import CLASS_NAMES, MALIGNANT
from models_store.wording import DIAGNOSES
from service.predictions.engine.images import prepare
from service.predictions.engine.judging import Decoded, Waiting, judge_batch
from tests.diagnosing_network import diagnosing_network

MakeModel = Callable[..., str]


def image(brightness: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((28, 28, 3), (brightness, brightness, brightness // 2), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def malignant_sum(prediction: dict[str, Any]) -> float:
    return sum(each["probability"] for each in prediction["diagnoses"] if each["malignant"])


def batch(client: TestClient, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
    answer = client.post("/v1/predict/batch", files=[("files", file) for file in files])
    return [json.loads(line) for line in answer.text.splitlines()]


@pytest.mark.parametrize("query", ["", "?explain=true"], ids=["express", "general"])
@pytest.mark.parametrize("brightness", [0, 90, 150, 255])
def test_malignant_diagnoses_sum_to_the_probability(
    client: TestClient, make_model: MakeModel, brightness: int, query: str
) -> None:
    make_model(promote=True, network=diagnosing_network())

    answer = client.post(f"/predict{query}", files={"file": ("a.png", image(brightness))}).json()

    assert [(each["diagnosis"], each["name"], each["malignant"]) for each in answer["diagnoses"]] == [
        (name, DIAGNOSES[name], name in MALIGNANT) for name in CLASS_NAMES
    ]
    assert malignant_sum(answer) == pytest.approx(answer["probability_malignant"], abs=1e-6)
    assert sum(each["probability"] for each in answer["diagnoses"]) == pytest.approx(1, abs=1e-6)
    assert Prediction.model_validate(answer).model_dump(mode="json") == answer


def test_threshold_decides_whichever_diagnosis_is_the_most_probable(client: TestClient, make_model: MakeModel) -> None:
    make_model(promote=True, network=diagnosing_network(), threshold=0.3)

    answer = client.post("/predict", files={"file": ("a.png", image(90))}).json()

    assert max(answer["diagnoses"], key=lambda each: each["probability"])["diagnosis"] == "nv"
    assert answer["label"] == "malignant"


def test_model_that_predicts_no_diagnoses_answers_without(client: TestClient, make_model: MakeModel) -> None:
    make_model(promote=True)

    alone = client.post("/predict", files={"file": ("a.png", image(150))}).json()
    (line,) = batch(client, ("a.png", image(150)))

    assert alone["diagnoses"] is None
    assert "diagnoses" not in line["prediction"]
    assert line["prediction"]["probability_malignant"] == alone["probability_malignant"]


def test_batch_gives_each_image_the_diagnoses_of_a_single_request(client: TestClient, make_model: MakeModel) -> None:
    make_model(promote=True, network=diagnosing_network())
    files = [(f"{brightness}.png", image(brightness)) for brightness in range(0, 256, 15)]

    lines = batch(client, *files, ("notes.txt", b"no image"))

    for (_, content), line in zip(files, lines, strict=False):
        alone = client.post("/predict", files={"file": ("a.png", content)}).json()
        prediction = BatchLine.model_validate(line).prediction
        assert prediction is not None
        assert prediction.diagnoses is not None
        assert [each.probability for each in prediction.diagnoses] == pytest.approx(
            [each["probability"] for each in alone["diagnoses"]], abs=1e-6
        )
        assert malignant_sum(line["prediction"]) == pytest.approx(prediction.probability_malignant, abs=1e-6)
    assert lines[-1]["problem"]["status"] == 415


def test_models_with_and_without_diagnoses_share_a_micro_batch(app: FastAPI, make_model: MakeModel) -> None:
    predictor = app.state.service.predictor
    make_model(promote=True)
    predictor.refresh()
    without = predictor.serving
    make_model(promote=True, network=diagnosing_network())
    predictor.refresh()

    decoded = Decoded(prepare(image(150), 28, 10_000), "")
    judged = judge_batch([Waiting(serving, decoded) for serving in (without, predictor.serving) * 2])

    assert [len(one.diagnoses or []) for one in judged] == [0, 7, 0, 7]
