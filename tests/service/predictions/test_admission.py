"""Uploads are limited by number and by bytes before their bodies are read; a refusal has Retry-After."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest
from fastapi import FastAPI, Request
from starlette.testclient import TestClient

from models_store.settings import Settings
from service.predictions.admission import Admission, CapacityExceeded, Upload, refuse

PATH = "/predict"


@dataclass
class Sent:
    """One upload: its body comes when `go` is set, its answer is the first message with a status."""

    parts: list[bytes]
    content_length: int | None = None
    go: asyncio.Event = field(default_factory=asyncio.Event)
    read: int = 0
    messages: list[Any] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    async def through(self, app: Any, path: str = PATH) -> "Sent":
        length = [] if self.content_length is None else [(b"content-length", str(self.content_length).encode())]
        scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": length}

        async def receive() -> Any:
            await self.go.wait()
            self.read += 1
            return {"type": "http.request", "body": self.parts.pop(0), "more_body": bool(self.parts)}

        async def send(message: Any) -> None:
            self.messages.append(message)

        await app(scope, receive, send)
        return self


def admitting(most: int = 10, most_bytes: int = 100) -> Admission:
    app = FastAPI()
    app.add_exception_handler(CapacityExceeded, refuse)

    @app.post("/predict")
    async def count_bytes(request: Request) -> int:
        return len(await request.body())

    return Admission(app, {PATH: Upload(max_bytes=80, max_active=most)}, most_bytes)


async def begun(app: Admission, upload: Sent) -> "asyncio.Task[Sent]":
    task = asyncio.create_task(upload.through(app))
    await asyncio.sleep(0)
    return task


def refused(upload: Sent) -> None:
    assert (upload.status, upload.headers[b"retry-after"]) == (503, b"1")
    assert b"/problems/overloaded" in upload.messages[1]["body"]


@pytest.mark.parametrize(("most", "most_bytes"), [(2, 1000), (10, 100)], ids=["number", "bytes"])
def test_uploads_beyond_the_limits_are_refused_before_their_bodies_are_read(most: int, most_bytes: int) -> None:
    async def run() -> None:
        app = admitting(most, most_bytes)
        first, second, third = (Sent([b"x" * 40], 40) for _ in range(3))
        tasks = [await begun(app, upload) for upload in (first, second)]
        refused(await third.through(app))
        assert third.read == 0
        for upload in (first, second):
            upload.go.set()
        await asyncio.gather(*tasks)
        assert [first.status, second.status] == [200, 200]
        third = Sent([b"x" * 40], 40)
        third.go.set()
        assert (await third.through(app)).status == 200

    asyncio.run(run())


def test_body_without_content_length_is_refused_as_soon_as_it_exceeds_the_limit() -> None:
    async def run() -> None:
        app = admitting()
        held, growing = Sent([b"x" * 60], 60), Sent([b"y" * 20] * 4)
        task = await begun(app, held)
        growing.go.set()
        refused(await growing.through(app))
        assert growing.read == 3
        held.go.set()
        assert (await task).status == 200
        again = Sent([b"y" * 20] * 4)
        again.go.set()
        assert (await again.through(app)).status == 200

    asyncio.run(run())


def test_content_length_above_the_largest_body_counts_as_the_largest_body() -> None:
    async def run() -> None:
        app = admitting()
        boasting, other = Sent([b""], 10**12), Sent([b"x" * 20], 20)
        task = await begun(app, boasting)
        other.go.set()
        assert (await other.through(app)).status == 200
        boasting.go.set()
        await task

    asyncio.run(run())


def test_upload_larger_than_the_limit_is_accepted_alone() -> None:
    async def run() -> None:
        alone = Sent([b"x" * 30, b"x" * 30])
        alone.go.set()
        assert (await alone.through(admitting(most_bytes=50))).status == 200

    asyncio.run(run())


def test_client_that_disconnects_frees_its_bytes() -> None:
    async def run() -> None:
        app = admitting()
        going, other = Sent([b""], 80), Sent([b"x" * 80], 80)
        task = await begun(app, going)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        other.go.set()
        assert (await other.through(app)).status == 200

    asyncio.run(run())


def test_application_counts_the_uploads_of_both_addresses_together(app: FastAPI, settings: Settings) -> None:
    (admission,) = [each for each in app.user_middleware if each.cls is Admission]
    uploads = admission.kwargs["uploads"]
    assert set(uploads) == {"/predict", "/v1/predict", "/v1/predict/batch"}
    assert uploads["/predict"] is uploads["/v1/predict"]
    assert admission.kwargs["most_bytes"] == settings.waiting_bytes


def test_form_of_long_text_fields_or_many_files_is_refused_rather_than_kept_in_memory(client: TestClient) -> None:
    file = {"file": ("a.png", b"pixels")}
    assert client.post("/predict", files=file, data={"note": "x" * 5000}).status_code == 400
    many = [("files", ("a.png", b"")) for _ in range(257)]
    answer = client.post("/v1/predict/batch", files=many)
    assert (answer.status_code, "256" in answer.json()["detail"]) == (400, True)
