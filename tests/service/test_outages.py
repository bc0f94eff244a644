"""A database that is away or too busy is 503 with Retry-After; a client that hangs up is no server error."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient
from starlette.types import Receive, Scope, Send

from models_store import database
from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from service.app import create_app
from service.web.__main__ import server_options
from service.web.metrics import REGISTRY


@pytest.fixture
def database_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """What PostgreSQL raises is among the cases below."""
    shutil.copyfile(migrated_sqlite, tmp_path / "test.db")
    return f"sqlite:///{tmp_path}/test.db"


def is_outage(answer: httpx.Response) -> bool:
    return answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize("address", ["/v1/experiments", "/", "/metrics"])
def test_a_pool_without_a_free_connection_is_an_outage(
    app: FastAPI, client: TestClient, tmp_path: Path, address: str
) -> None:
    full = Database(f"sqlite:///{tmp_path}/full.db")
    full.engine = create_engine(full.engine.url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    app.state.service = replace(app.state.service, database=full)
    with full.engine.connect():
        assert is_outage(client.get(address))
    full.close()


def test_a_locked_database_is_an_outage(
    settings: Settings, storage: Storage, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(database, "SQLITE_BUSY_MS", 10)
    app = create_app(settings, database=Database(settings.database_url), storage=storage)
    with TestClient(app) as client, closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert is_outage(client.post("/v1/models/rollback", json={"reason": "x"}))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PoolExhausted("QueuePool limit reached"), 503),
        (OperationalError("SELECT", {}, Exception("database is locked")), 503),
        (InterfaceError("SELECT", {}, Exception("the connection is closed")), 503),
        (DBAPIError("SELECT", {}, Exception("terminated"), connection_invalidated=True), 503),
        (DBAPIError("SELECT", {}, Exception("wrong")), 500),
        (ProgrammingError("SELECT", {}, Exception("no such column")), 500),
    ],
)
def test_an_outage_is_distinguished_from_a_mistake(app: FastAPI, error: Exception, status: int) -> None:
    @app.get("/broken")
    def broken() -> None:
        raise error

    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.get("/broken")
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert is_outage(answer) is (status == 503)


@pytest.mark.parametrize("headers", [{}, {"content-length": "100"}], ids=["ordinary", "express"])
def test_a_client_that_hangs_up_is_counted_as_such_and_not_as_an_error(app: FastAPI, headers: dict[str, str]) -> None:
    def counted(status: int) -> float:
        labels = {"method": "POST", "route": "/predict", "status": str(status)}
        return REGISTRY.get_sample_value("dermatriage_http_request_seconds_count", labels) or 0

    async def hang_up() -> None:
        messages = [{"type": "http.request", "body": b"--x\r\n", "more_body": True}, {"type": "http.disconnect"}]
        encoded = {"content-type": "multipart/form-data; boundary=x", "host": "localhost", **headers}

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            pass

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/predict",
            "query_string": b"",
            "scheme": "http",
            "http_version": "1.1",
            "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in encoded.items()],
        }
        await app(scope, receive, send)

    before = counted(499), counted(500), counted(400)
    asyncio.run(hang_up())
    assert (counted(499), counted(500), counted(400)) == (before[0] + 1, *before[1:])


async def echo_client(scope: Scope, receive: Receive, send: Send) -> None:
    client = scope["client"]
    await JSONResponse([client[0], Request(scope).url.scheme])(scope, receive, send)


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [
        ("", ["127.0.0.1", "http"]),
        ("10.0.0.0/8", ["127.0.0.1", "http"]),
        ("127.0.0.1", ["203.0.113.9", "https"]),
        ("10.0.0.1, 127.0.0.0/8", ["203.0.113.9", "https"]),
    ],
)
def test_only_a_proxy_that_the_settings_name_is_trusted(trusted: str, expected: list[str]) -> None:
    config = uvicorn.Config(echo_client, **server_options(Settings(trusted_proxies=trusted, _env_file=None)))
    config.load()

    async def read_client() -> Any:
        transport = httpx.ASGITransport(config.loaded_app, client=("127.0.0.1", 1))
        forwarded = {"X-Forwarded-For": "198.51.100.1, 203.0.113.9", "X-Forwarded-Proto": "https"}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get("/", headers=forwarded)).json()

    assert asyncio.run(read_client()) == expected


@pytest.mark.parametrize("proxies", ["*", "caddy", "10.0.0.1/8", "127.0.0.1,,x"])
def test_a_trusted_proxy_is_an_address_or_a_network(proxies: str) -> None:
    with pytest.raises(ValidationError):
        Settings(trusted_proxies=proxies, _env_file=None)
