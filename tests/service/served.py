"""The application, or a script of answers, on a real server in a thread."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from time import monotonic, sleep
from typing import Any

import uvicorn

from models_store.settings import Settings
from service.web.__main__ import server_options


@contextmanager
def served(app: Any, port: int = 0, **changed: Any) -> Iterator[str]:
    """The address of `app`, as long as the block lasts; `changed` are options of uvicorn."""
    options = server_options(Settings(_env_file=None)) | {"timeout_graceful_shutdown": 1} | changed
    server = uvicorn.Server(uvicorn.Config(app, port=port, **options))
    thread = Thread(target=server.run)
    thread.start()
    deadline = monotonic() + 30
    while not server.started and monotonic() < deadline:
        sleep(0.02)
    try:
        listening: socket.socket = server.servers[0].sockets[0]
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@dataclass(frozen=True)
class ScriptedAnswer:
    """One answer; `breaks` ends the connection after the body instead of the answer, `piece_bytes` cuts the body."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False
    piece_bytes: int = 2**20


@dataclass
class Scripted:
    """An ASGI application that gives the answers of a script, the last one repeatedly, and records the requests."""

    answers: list[ScriptedAnswer]
    requests: list[dict[str, str]] = field(default_factory=list)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        while (await receive()).get("more_body"):
            pass
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.requests.append({"method": scope["method"], "path": scope["path"], **headers})
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        shown = {"content-type": "application/json", **answer.headers}
        encoded = [(name.encode(), value.encode()) for name, value in shown.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": encoded})
        for start in range(0, len(body), answer.piece_bytes):
            piece = body[start : start + answer.piece_bytes]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if not answer.breaks:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        if answer.breaks:
            raise ConnectionAbortedError("as the script says")
