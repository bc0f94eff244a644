"""The champion changes under load without a failed or mixed answer."""

import io
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

CLIENTS, MOVES = 16, 20


def test_twenty_changes_of_the_champion_under_load_cause_no_failed_or_mixed_answer(
    app: FastAPI, client: TestClient, make_model: Callable[..., str]
) -> None:
    thresholds = {make_model(threshold=threshold): threshold for threshold in (0.3, 0.7)}
    first, second = thresholds
    client.post(f"/v1/models/{first}/promote", json={"reason": "start"})
    app.state.service.predictor.refresh()
    buffer = io.BytesIO()
    Image.fromarray(np.full((28, 28, 3), 127, np.uint8)).save(buffer, "PNG")
    content, ended = buffer.getvalue(), threading.Event()
    answers: list[tuple[int, str, float]] = []

    def predict() -> None:
        while not ended.is_set():
            answer = client.post("/predict", files={"file": ("a.png", content)})
            body = answer.json()
            answers.append((answer.status_code, body.get("model_version", ""), body.get("threshold", -1)))

    with ThreadPoolExecutor(CLIENTS) as pool:
        clients = [pool.submit(predict) for _ in range(CLIENTS)]
        slowest = 0.0
        for move in range(MOVES):
            if move % 2:
                moved = client.post("/v1/models/rollback", json={"reason": "test"})
            else:
                moved = client.post(f"/v1/models/{second}/promote", json={"reason": "test"})
            assert moved.status_code == 200, moved.text
            wanted, began = moved.json()["version"], time.monotonic()
            while app.state.service.predictor.serving.version != wanted:
                assert time.monotonic() - began < 5
                time.sleep(0.01)
            slowest = max(slowest, time.monotonic() - began)
        ended.set()
        for running in clients:
            running.result(timeout=30)
    assert {status for status, _, _ in answers} == {200}
    assert all(thresholds[version] == threshold for _, version, threshold in answers)
    assert {version for _, version, _ in answers} == {first, second}
    assert slowest < 2
