"""What was answered is on record, soon and without anyone waiting for it; what is lost is counted."""

import hashlib
import io
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.settings import Settings
from models_store.storage import Storage
from models_store.tables import PredictionRow
from service import metrics
from service.app import create_app
from service.predictions.recording import Answered, Recorder
from service.standing import FEWEST_SCORES, distance

MakeModel = Callable[..., str]


def image(brightness: int = 120) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((28, 28, 3), (brightness, brightness // 2, 9), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def answered(number: int, version: str) -> Answered:
    return Answered(f"prd_{number}", version, "d", 0.5, 0.25, "benign", "0" * 64, (), None, datetime.now(UTC))


def test_prediction_is_read_back_as_it_was_answered(
    app: FastAPI, client: TestClient, make_model: MakeModel, database: Database
) -> None:
    make_model(threshold=0.4, promote=True, synthetic=True)
    given = client.post("/predict", files={"file": ("../../etc/passwd", image())}).json()
    recorded = client.get(f"/v1/predictions/{given['prediction_id']}").json()  # perhaps not written yet
    app.state.service.recorder.close()
    assert client.get(f"/v1/predictions/{given['prediction_id']}").json() == recorded
    assert recorded["probability"] == given["probability_malignant"]
    assert {name: recorded[name] for name in ("label", "threshold", "model_version")} == {
        name: given[name] for name in ("label", "threshold", "model_version")
    }
    assert recorded["warnings"] == ["synthetic_model"]
    assert recorded["image_sha256"] == hashlib.sha256(image()).hexdigest()
    assert recorded["image_stored"] is False
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(PredictionRow)) == 1


def test_unknown_prediction_is_a_problem(client: TestClient) -> None:
    assert client.get("/v1/predictions/prd_0").status_code == 404


def test_image_is_kept_only_where_the_settings_say_so(
    settings: Settings, database: Database, storage: Storage, make_model: MakeModel
) -> None:
    make_model(promote=True)
    for keep in (False, True):
        app = create_app(settings.model_copy(update={"store_images": keep}), database=database, storage=storage)
        with TestClient(app) as client:
            given = client.post("/predict", files={"file": ("a.png", image())}).json()
        kept = storage.keys("predictions/")
        assert [key.rsplit("/", 1)[1] for key in kept] == ([given["prediction_id"]] if keep else [])


def test_full_record_drops_and_counts_and_never_waits(
    database: Database, storage: Storage, make_model: MakeModel
) -> None:
    version = make_model()
    recorder = Recorder(database, storage, most_waiting=3)
    before = metrics.DROPPED._value.get()
    began = time.perf_counter()
    for number in range(5):
        recorder.add(answered(number, version))
    assert time.perf_counter() - began < 0.1
    assert metrics.DROPPED._value.get() - before == 2
    recorder.start()
    recorder.close()
    with database.read() as session:
        assert sorted(session.scalars(select(PredictionRow.id))) == ["prd_0", "prd_1", "prd_2"]


def test_record_outlasts_a_database_that_is_away(database: Database, storage: Storage, make_model: MakeModel) -> None:
    version = make_model()
    recorder = Recorder(Database("postgresql://nobody@127.0.0.1:1/nowhere"), storage)
    recorder.add(answered(1, version))
    recorder._write_all()
    assert recorder.find("prd_1") is not None
    recorder._database = database
    recorder._write_all()
    assert recorder.find("prd_1") is None
    with database.read() as session:
        assert session.get(PredictionRow, "prd_1") is not None


@pytest.mark.parametrize(
    ("scores", "expected", "gap"),
    [([1, 2, 3], [1, 2, 3], 0), ([0, 0], [1, 1], 1), ([1, 2], [1, 3], 0.5), ([1, 1, 1, 2], [1, 2], 0.25)],
)
def test_distance_between_scores(scores: list[float], expected: list[float], gap: float) -> None:
    assert distance(scores, expected) == gap == distance(expected, scores)


def test_metrics_tell_predictions_champion_trials_and_drift(
    app: FastAPI, client: TestClient, make_model: MakeModel
) -> None:
    version = make_model(promote=True)
    for number in range(FEWEST_SCORES):
        assert client.post("/predict", files={"file": ("a.png", image(number))}).status_code == 200
    app.state.service.recorder.close()
    service: Any = app.state.service
    service.predictor.serving = type(service.predictor.serving)(
        **{**vars(service.predictor.serving), "validation_scores": (0.999, 0.999)}
    )
    told = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    assert told["dermatriage_predictions_total", (("label", "benign"), ("version", version))] == FEWEST_SCORES
    assert told["dermatriage_champion_info", (("version", version),)] == 1
    assert told["dermatriage_trials", (("status", "succeeded"),)] == 1
    assert told["dermatriage_score_drift", ()] == 1
    names = {name for name, _ in told}
    assert {"dermatriage_batch_size_count", "dermatriage_predict_queue_depth"} <= names
    seconds = (("method", "POST"), ("route", "/predict"), ("status", "200"))
    assert told["dermatriage_http_request_seconds_count", seconds] >= FEWEST_SCORES
