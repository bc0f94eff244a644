"""The pages that classify images and show the system."""

import io
from typing import Any

from fastapi import FastAPI
from PIL import Image
from redis import Redis
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.presence import remove_heartbeat, send_heartbeat
from models_store.store import registry
from models_store.store.storage import Storage
from service.dashboard.try_it import SAMPLES, sample
from tests.populated_service import WORKER, populate
from tests.service.dashboard.test_result_page import words


def test_without_a_champion_the_page_explains_what_to_do(client: TestClient) -> None:
    page = client.get("/try").text
    assert "No model available yet" in words(page)
    assert 'id="files"' not in page


def test_with_a_champion_images_can_be_chosen_and_generated_ones_tried(
    client: TestClient, make_result: Any, database: Database
) -> None:
    version = f"mdl_{make_result()}"
    with database.write() as session:
        registry.promote(session, version, actor="test", reason="to answer")
    page = client.get("/try").text
    assert 'id="files"' in page
    assert version in page
    assert "These images are generated" in words(page)
    picture = client.get("/try/samples/mel.png")
    assert picture.headers["content-type"] == "image/png"
    answer = client.post("/predict?explain=true", files={"file": ("mel.png", picture.content)}).json()
    assert answer["explanation"]["png_base64"]


def test_generated_images_are_reproducible_and_have_the_requested_size() -> None:
    for name in SAMPLES:
        assert Image.open(io.BytesIO(sample(name, 64))).size == (64, 64)
        assert sample.__wrapped__(name, 32) == sample(name, 32)


def test_an_unknown_generated_image_is_refused(client: TestClient) -> None:
    assert client.get("/try/samples/../../etc/passwd.png").status_code == 404
    assert client.get("/try/samples/mole.png").status_code == 422


def test_an_empty_system_explains_how_to_start_a_worker(client: TestClient) -> None:
    shown = words(client.get("/system").text)
    assert "There are no workers." in shown
    assert "No predictions yet." in shown


def test_system_page_shows_the_same_as_the_api(
    app: FastAPI, client: TestClient, database: Database, storage: Storage, tmp_path: Any
) -> None:
    broker_url = app.state.service.settings.broker_url
    populate(database, storage, broker_url, tmp_path / "furnished")
    client.get("/readyz")
    with Redis.from_url(broker_url) as broker:
        send_heartbeat(broker, WORKER)
        told, page = client.get("/v1/system").json(), client.get("/system").text
        remove_heartbeat(broker, WORKER.name)
    shown = words(page)
    assert "gpu-1:4711" in shown
    assert "2 of 2 used GPU 0, 1" in shown
    assert "CNN_v1/W3 phase 1, 7 epochs" in shown
    assert told["versions"]["commit"] in shown
    assert told["champion"] in shown
    judged = sum(day["malignant"] + day["benign"] for day in told["days"])
    assert f"{judged:,} predictions in 14 days" in shown
    assert page.count('class="plot"') == 2
    drifted = sum((day["drift"] or 0) > (day["chance"] or 1) for day in told["days"])
    assert drifted >= 2
    assert f"On {drifted} of 13 days" in shown
