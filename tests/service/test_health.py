"""Health and readiness name what the process lacks."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from anyio import WouldBlock, to_thread
from fastapi import FastAPI
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.settings import Settings
from service.system import health


def test_process_is_healthy_without_any_model(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.both_databases
def test_service_is_ready_once_a_model_answers(client: TestClient, make_model: Callable[..., str]) -> None:
    before = client.get("/readyz")
    assert before.status_code == 503
    assert before.json()["checks"]["model"] == {"ok": False, "detail": "no model has been promoted", "refused": None}
    assert before.json()["checks"]["broker"]["ok"] is before.json()["checks"]["database"]["ok"] is True
    version = make_model(promote=True)
    after = client.get("/readyz")
    assert (after.status_code, after.json()["status"]) == (200, "ready")
    assert after.json()["checks"]["model"]["detail"] == f"{version} answers"


def test_readiness_names_the_broker_that_is_away(
    app: FastAPI, client: TestClient, make_model: Callable[..., str]
) -> None:
    make_model(promote=True)
    settings = app.state.service.settings.model_copy(update={"broker_url": "redis://127.0.0.1:1/0"})
    app.state.service = replace(app.state.service, settings=settings)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert [name for name, check in answer.json()["checks"].items() if not check["ok"]] == ["broker"]


@pytest.mark.both_databases
def test_database_that_is_away_is_a_problem_and_not_a_stack_trace(
    app: FastAPI, client: TestClient, make_model: Callable[..., str], tmp_path: Path
) -> None:
    version = make_model(promote=True)
    client.get("/readyz")
    away = Database(f"sqlite:///{tmp_path}/away.db")
    away.engine = Database("postgresql://nobody@127.0.0.1:1/nowhere").engine
    app.state.service = replace(app.state.service, database=away)
    app.state.service.predictor.database = away
    for address in ("/v1/experiments", "/readyz"):
        answer = client.get(address)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert app.state.service.predictor.serving.version == version


def test_health_needs_neither_a_thread_nor_the_database(app: FastAPI) -> None:
    async def read_health() -> int:
        limiter = to_thread.current_default_thread_limiter()
        with suppress(WouldBlock):
            while True:
                limiter.acquire_on_behalf_of_nowait(object())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            return (await asyncio.wait_for(client.get("/healthz"), 5)).status_code

    assert asyncio.run(read_health()) == 200


def test_readiness_shows_a_stranger_no_address_path_or_digest(
    app: FastAPI, client: TestClient, make_model: Callable[..., str], settings: Settings
) -> None:
    version = make_model(promote=True)
    damaged = next(Path(settings.store_url, "models").glob("*/model.onnx"))
    damaged.write_bytes(b"damaged")
    answer = client.get("/readyz")
    detail = f"{version} failed its checks; the log says why"
    assert (answer.status_code, answer.json()["detail"]) == (503, f"model: {detail}")
    assert answer.json()["checks"]["model"] == {"ok": False, "detail": detail, "refused": detail}
    assert "model.onnx" in health.checks(app.state.service)["model"].detail
