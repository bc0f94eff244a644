"""Answers are recorded soon, and no client waits for it; lost records are counted."""

import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from models_store.tables import PredictionRow
from service.app import create_app
from service.predictions.engine import recorder as recording
from service.predictions.engine.recorder import MAX_FAILURES, RecordedPrediction, Recorder
from service.system.prometheus import MIN_SCORES, distance
from service.web import metrics

MakeModel = Callable[..., str]


def image(brightness: int = 120) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((28, 28, 3), (brightness, brightness // 2, 9), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def answered(number: int, version: str) -> RecordedPrediction:
    return RecordedPrediction(f"prd_{number}", version, "d", 0.5, 0.25, "benign", "0" * 64, (), None, datetime.now(UTC))


@pytest.mark.both_databases
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


@pytest.mark.both_databases
def test_answers_are_recorded_after_an_outage(database: Database, storage: Storage, make_model: MakeModel) -> None:
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


def recorded(database: Database) -> list[str]:
    with database.read() as session:
        return sorted(session.scalars(select(PredictionRow.id)))


class LosesItsAnswer(Database):
    """Commits the first transaction and then loses the connection, so that the commit is not confirmed."""

    lost = False

    @contextmanager
    def write(self) -> Iterator[Session]:
        with super().write() as session:
            yield session
        if not self.lost:
            self.lost = True
            raise OperationalError("COMMIT", None, ConnectionResetError())


@pytest.mark.both_databases
def test_unconfirmed_commit_is_not_written_twice_and_does_not_stop_others(
    database: Database, storage: Storage, make_model: MakeModel
) -> None:
    version = make_model()
    recorder = Recorder(LosesItsAnswer(database.url), storage)
    for number in range(3):
        recorder.add(answered(number, version))
    assert not recorder._write_all()
    recorder.add(answered(3, version))
    assert recorder._write_all()
    assert recorded(database) == ["prd_0", "prd_1", "prd_2", "prd_3"]
    recorder._database.close()


@pytest.mark.both_databases
def test_prediction_that_cannot_be_recorded_does_not_stop_others_and_is_dropped(
    database: Database, storage: Storage, make_model: MakeModel
) -> None:
    version, before = make_model(), metrics.DROPPED._value.get()
    recorder = Recorder(database, storage)
    for number in range(4):
        recorder.add(answered(number, "mdl_unknown" if number < 2 else version))
    for number in range(4, 4 + MAX_FAILURES):
        recorder._write_all()
        assert recorder.find(f"prd_{number - 1}") is None
        recorder.add(answered(number, version))
    recorder._write_all()
    assert recorded(database) == [f"prd_{number}" for number in range(2, 4 + MAX_FAILURES)]
    assert recorder.find("prd_0") is None
    assert metrics.DROPPED._value.get() - before == 2


@pytest.mark.both_databases
def test_many_predictions_that_cannot_be_recorded_do_not_stop_others(
    database: Database, storage: Storage, make_model: MakeModel
) -> None:
    version = make_model()
    recorder = Recorder(database, storage)
    for number in range(8):
        recorder.add(answered(number, "mdl_unknown" if number < 7 else version))
    for _ in range(4):
        recorder._write_all()
    assert recorded(database) == ["prd_7"]


def test_thread_survives_any_error_of_the_store(
    database: Database, storage: Storage, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    version, before = make_model(), metrics.RECORD_FAILURES._value.get()
    monkeypatch.setattr(recording, "FLUSH_SECONDS", 0.001)
    monkeypatch.setattr(recording, "MAX_PAUSE_SECONDS", 0.001)
    refused, failures = threading.Event(), iter((EndpointAway("a"), EndpointAway("b"), None))

    def put_file(_local: Path, _key: str) -> None:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        refused.set()

    monkeypatch.setattr(storage, "put_file", put_file)
    recorder = Recorder(database, storage)
    recorder.start()
    recorder.add(replace(answered(1, version), image=b"pixels"))
    assert refused.wait(10)
    recorder.close()
    assert recorded(database) == ["prd_1"]
    assert metrics.RECORD_FAILURES._value.get() - before >= 1


class EndpointAway(Exception):
    """As botocore's errors, neither SQLAlchemy's nor an OSError."""


@pytest.mark.parametrize(
    ("scores", "expected", "gap"),
    [([1, 2, 3], [1, 2, 3], 0), ([0, 0], [1, 1], 1), ([1, 2], [1, 3], 0.5), ([1, 1, 1, 2], [1, 2], 0.25)],
)
def test_distance_between_scores(scores: list[float], expected: list[float], gap: float) -> None:
    assert distance(scores, expected) == gap == distance(expected, scores)


@pytest.mark.both_databases
def test_metrics_show_predictions_champion_trials_and_drift(
    app: FastAPI, client: TestClient, make_model: MakeModel
) -> None:
    version = make_model(promote=True)
    for number in range(MIN_SCORES):
        assert client.post("/predict", files={"file": ("a.png", image(number))}).status_code == 200
    app.state.service.recorder.close()
    service: Any = app.state.service
    service.predictor.serving = type(service.predictor.serving)(
        **{**vars(service.predictor.serving), "validation_scores": (0.999, 0.999)}
    )
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }
    assert samples["dermatriage_predictions_total", (("label", "benign"), ("version", version))] == MIN_SCORES
    assert samples["dermatriage_champion_info", (("version", version),)] == 1
    assert samples["dermatriage_trials", (("status", "succeeded"),)] == 1
    assert samples["dermatriage_score_drift", ()] == 1
    names = {name for name, _ in samples}
    assert {"dermatriage_batch_size_count", "dermatriage_predict_queue_depth"} <= names
    seconds = (("method", "POST"), ("route", "/predict"), ("status", "200"))
    assert samples["dermatriage_http_request_seconds_count", seconds] >= MIN_SCORES
