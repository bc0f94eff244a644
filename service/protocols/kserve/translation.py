"""Which of our addresses a request of the protocol stands for, and errors in the protocol's shape."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Problem
from service.web.scope_marks import ADDRESS, ERROR

STANDS_FOR = {"/v2/health/live": "/healthz", "/v2/health/ready": "/readyz"}
INFER = re.compile(r"/v2/models/[^/]+(?:/versions/[^/]+)?/infer")


class Translation:
    """Marks requests to `/v2`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and f"{scope['path']}/".startswith("/v2/"):
            scope[ERROR] = error
            path = scope["path"]
            scope[ADDRESS] = "/predict" if INFER.fullmatch(path) else STANDS_FOR.get(path)
        await self.app(scope, receive, send)


def error(problem: Problem) -> dict[str, str]:
    return {"error": f"{problem.title}: {problem.detail}. {problem.remedy}"}
