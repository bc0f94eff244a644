"""The addresses of our API that match those of the protocol, and errors in the protocol's format."""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Problem
from service.web.scope_marks import ADDRESS, ERROR

API_ADDRESSES = {"/v2/health/live": "/healthz", "/v2/health/ready": "/readyz"}
INFER = re.compile(r"/v2/models/[^/]+(?:/versions/[^/]+)?/infer")


class Translation:
    """Marks the requests to `/v2`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and f"{scope['path']}/".startswith("/v2/"):
            scope[ERROR] = error
            path = scope["path"]
            scope[ADDRESS] = "/predict" if INFER.fullmatch(path) else API_ADDRESSES.get(path)
        await self.app(scope, receive, send)


def error(problem: Problem) -> dict[str, str]:
    return {"error": f"{problem.title}: {problem.detail}. {problem.remedy}"}
