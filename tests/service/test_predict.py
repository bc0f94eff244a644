"""`POST /predict` over HTTP: answers, refusals, and which model gives them."""

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from models_store.contract.catalog import DISCLAIMER
from models_store.database import Database
from models_store.store import registry
from models_store.store.signatures import Signer, make_keys
from service.app import create_app
from service.predictions.engine import predictor

MakeModel = Callable[..., str]


def image(brightness: int, size: tuple[int, int] = (28, 28), kind: str = "PNG") -> bytes:
    pixels = np.full((size[1], size[0], 3), brightness, np.uint8)
    pixels[..., 1] //= 2
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def predict(client: TestClient, content: bytes, name: str = "lesion.png") -> Any:
    return client.post("/predict", files={"file": (name, content)})


def test_predict_before_any_model_is_answered_with_the_remedy(client: TestClient) -> None:
    answer = predict(client, image(200))
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert '"promote": "always"' in answer.json()["remedy"]


def test_answer_is_that_of_the_network_and_names_its_basis(client: TestClient, make_model: MakeModel) -> None:
    version = make_model(threshold=0.6, promote=True)
    content = image(180)
    answer = predict(client, content).json()
    mean = np.asarray(Image.open(io.BytesIO(content)), np.float64).mean() / 255
    assert answer["probability_malignant"] == pytest.approx(1 / (1 + np.exp(-2 * (10 * mean - 5))), abs=1e-6)
    assert answer["prediction_id"].startswith("prd_")
    assert {key: answer[key] for key in ("model_version", "threshold", "dataset", "disclaimer", "warnings")} == {
        "model_version": version,
        "threshold": 0.6,
        "dataset": "dermamnist",
        "disclaimer": DISCLAIMER,
        "warnings": [],
    }
    assert answer["guarantee"]["holds"] is True


def test_probability_equal_to_the_threshold_is_malignant(client: TestClient, make_model: MakeModel) -> None:
    make_model(promote=True)
    probability = predict(client, image(150)).json()["probability_malignant"]
    for threshold, label in ((probability, "malignant"), (float(np.nextafter(probability, 1)), "benign")):
        version = make_model(threshold=threshold)
        client.post(f"/v1/models/{version}/promote", json={"reason": "test"})
        client.get("/readyz")  # refreshes the champion at once
        answer = predict(client, image(150)).json()
        assert (answer["model_version"], answer["label"]) == (version, label)


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"hello, I am a text", 415), (b"", 415), (image(9)[:-30], 422), (image(9, (1200, 1000)), 422)],
    ids=["text", "empty", "truncated", "too many pixels"],
)
def test_what_is_no_proper_image_is_refused_with_a_remedy(
    client: TestClient, make_model: MakeModel, content: bytes, status: int
) -> None:
    make_model(promote=True)
    answer = predict(client, content, "notes.txt")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert "PNG, JPEG, WebP, BMP or TIFF" in answer.json()["remedy"]


@pytest.mark.parametrize("extra", [1, 100_000])
def test_too_many_bytes_are_refused_while_and_after_they_are_read(
    client: TestClient, make_model: MakeModel, extra: int
) -> None:
    make_model(promote=True)
    answer = predict(client, b"\x00" * (200_000 + extra))
    assert answer.status_code == 413
    assert answer.json()["remedy"]


def test_upload_without_a_file_points_at_the_field(client: TestClient) -> None:
    answer = client.post("/predict", files={"picture": ("a.png", image(9))})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/file"


def test_answers_of_a_doubtful_model_have_warnings(client: TestClient, make_model: MakeModel) -> None:
    make_model(promote=True, synthetic=True, weights="none")
    codes = [warning["code"] for warning in predict(client, image(9)).json()["warnings"]]
    assert codes == ["synthetic_model", "no_imagenet_weights"]


def test_promotion_elsewhere_reaches_a_running_server(client: TestClient, make_model: MakeModel) -> None:
    make_model(promote=True)
    assert client.get("/readyz").status_code == 200
    second = make_model(threshold=0.9, promote=True)
    deadline = time.monotonic() + 4
    while predict(client, image(9)).json()["model_version"] != second:
        assert time.monotonic() < deadline, "the new champion did not answer within 4 seconds"
        time.sleep(0.02)


def test_tampered_bundle_is_refused_and_the_old_model_stays(
    client: TestClient, make_model: MakeModel, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    old = make_model(threshold=0.5, promote=True)
    client.get("/readyz")
    new = make_model(threshold=0.7)
    newest = max(Path(settings.store_url, "models").glob("*/model.onnx"), key=lambda path: path.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:-1] + b"\x00")
    client.post(f"/v1/models/{new}/promote", json={"reason": "test"})
    ready = client.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["checks"]["model"]["refused"] == f"{new} failed its checks; the log says why"
    refusals = [record for record in caplog.records if record.getMessage().startswith(f"refused the model {new}: ")]
    assert [record.levelname for record in refusals] == ["ERROR"]
    assert predict(client, image(9)).json()["model_version"] == old
    for path in (f"/v1/models/{new}/bundle", f"/v1/models/{new}/card"):
        expected = 503 if path.endswith("bundle") else 200
        assert client.get(path).status_code == expected


def test_tampered_bundle_without_a_predecessor_is_named_in_the_problem(
    client: TestClient, make_model: MakeModel, settings: Any
) -> None:
    version = make_model(promote=True)
    next(Path(settings.store_url, "models").glob("*/calibration.json")).write_text("{}")
    answer = predict(client, image(9))
    assert answer.status_code == 503
    assert f"{version} was refused" in answer.json()["detail"]


def test_bundle_whose_threshold_is_not_the_recorded_one_is_refused(
    app: FastAPI, make_model: MakeModel, database: Database
) -> None:
    version = make_model(threshold=0.5, promote=True)
    with database.write() as session:
        registry.model(session, version).threshold = 0.4
    app.state.service.predictor.refresh()
    assert app.state.service.predictor.serving is None
    assert "0.4 is on record" in app.state.service.predictor.refusal.reason


def test_refused_bundle_is_tried_again_only_after_a_while(app: FastAPI, make_model: MakeModel, settings: Any) -> None:
    make_model(promote=True)
    card = next(Path(settings.store_url, "models").glob("*/calibration.json"))
    intact = card.read_bytes()
    card.write_text("{}")
    watched, moment = app.state.service.predictor, 1000.0
    watched.clock = lambda: moment
    watched.refresh()
    card.write_bytes(intact)
    watched.refresh()
    assert watched.serving is None
    moment += predictor.RETRY_SECONDS
    watched.refresh()
    assert watched.serving is not None
    assert watched.refusal is None


def test_a_champion_signed_by_a_key_that_is_not_trusted_does_not_answer(
    settings: Any, database: Database, make_model: MakeModel, tmp_path: Path
) -> None:
    for name in ("ours", "theirs"):
        make_keys(tmp_path / f"{name}.pem", tmp_path / f"{name}.pub.pem")
    believing = settings.model_copy(update={"verify_keys": tmp_path / "ours.pub.pem"})
    ours = make_model(promote=True, signer=Signer.of(tmp_path / "ours.pem"))
    with TestClient(create_app(believing, database=database)) as client:
        assert predict(client, image(0)).json()["model_version"] == ours
        assert client.get(f"/v1/models/{ours}").json()["signed_by"] == Signer.of(tmp_path / "ours.pem").key_id
    theirs = make_model(promote=True, signer=Signer.of(tmp_path / "theirs.pem"))
    with TestClient(create_app(believing, database=database)) as client:
        answer = predict(client, image(0))
        assert answer.status_code == 503
        assert theirs in answer.json()["detail"]
        for part in ("bundle", "card", "validation"):
            refused = client.get(f"/v1/models/{theirs}/{part}")
            assert (refused.status_code, refused.json()["type"]) == (503, "/problems/bundle-altered")
