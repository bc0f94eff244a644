"""What every page shares: the viewer, the rendering, errors as pages, and a policy that allows no other hosts."""

import hmac
import json
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.status import HTTP_404_NOT_FOUND, HTTP_500_INTERNAL_SERVER_ERROR
from starlette.types import Receive, Scope, Send

from dermatriage_client.problems import MEDIA_TYPE
from models_store.settings import Settings
from service.access.gate import CALLER, FORM_TOKEN, FORM_TOKEN_HEADER, SAFE, SCOPES, is_page_visit
from service.dashboard.assets import asset
from service.errors import Problem
from service.presentation.templates import TEMPLATES

log = logging.getLogger(__name__)

# plotly.js writes style attributes and a <style> element; pictures have data: or blob: addresses.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# With `no-referrer`, browsers would send forms with the origin `null`.
HEADERS = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "same-origin"}


@dataclass(frozen=True)
class Viewer:
    """The person who opened a page, what they may do, the token that their forms need, and the server's address."""

    name: str
    scopes: frozenset[str]
    address: str
    signed_in: bool = False
    form_token: str = ""

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


def viewer_of(request: Request) -> Viewer:
    """From the key that the browser signed in with; if keys are off, everyone may do everything."""
    settings: Settings = request.app.state.service.settings
    keys_are_off = settings.auth == "off"
    return Viewer(
        name=str(request.scope.get(CALLER, "nobody")),
        scopes=frozenset(("admin",)) if keys_are_off else request.scope.get(SCOPES, frozenset()),
        address=(settings.public_url or str(request.base_url)).rstrip("/"),
        signed_in=FORM_TOKEN in request.scope,
        form_token=request.scope.get(FORM_TOKEN, ""),
    )


async def viewer(request: Request) -> Viewer:
    return viewer_of(request)


Viewing = Annotated[Viewer, Depends(viewer)]


def show(
    template: str, viewer: Viewer, *, page: str, status_code: int = 200, fragment: bool = False, **content: Any
) -> HTMLResponse:
    """Renders a page or a fragment. `page` is the name of its script function and of its entry in the navigation."""
    text = TEMPLATES.get_template(template).render(viewer=viewer, page=page, fragment=fragment, asset=asset, **content)
    return HTMLResponse(text, status_code, HEADERS)


class PageRoute(APIRoute):
    """Accepts forms only from the dashboard's own pages, and turns errors into pages.

    An error leaves the endpoint as an exception, which rolls back the transaction, before it becomes a page.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handle_own_forms(request: Request) -> Response:
            if request.method not in SAFE:
                await _require_own_form(request)
            return await answer(request)

        return handle_own_forms

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        handlers, by_status = scope["starlette.exception_handlers"]
        unexpected = {Exception: scope["app"].exception_handlers[Exception]}
        paged = {kind: _page_handler(handler) for kind, handler in (unexpected | handlers).items()}
        scope["starlette.exception_handlers"] = (paged, by_status)
        await super().handle(scope, receive, send)


def _page_handler(handler: Callable[[Request, Exception], Response]) -> Callable[[Request, Exception], Any]:
    async def answer(request: Request, error: Exception) -> Response:
        problem = handler(request, error)
        if problem.status_code == HTTP_500_INTERNAL_SERVER_ERROR:
            log.error("the page %s failed", request.url.path, exc_info=error)
        return _as_page(viewer_of(request), problem)

    return answer


def add_unknown_page(app: FastAPI) -> None:
    """Shows a page to a browser that opens an unknown address; programs still get the problem."""
    handler = app.exception_handlers[HTTPException]

    def answer(request: Request, error: Exception) -> Response:
        problem = handler(request, error)
        assert isinstance(problem, Response)
        is_unknown = problem.status_code == HTTP_404_NOT_FOUND and "endpoint" not in request.scope
        return _as_page(viewer_of(request), problem) if is_unknown and is_page_visit(request.scope) else problem

    app.add_exception_handler(HTTPException, answer)


async def _require_own_form(request: Request) -> None:
    """Raises `Problem` unless the form has the token of its session."""
    expected = request.scope.get(FORM_TOKEN, "")
    token = request.headers.get(FORM_TOKEN_HEADER) or str((await request.form()).get("form_token", ""))
    if expected and not hmac.compare_digest(token.encode(), expected.encode()):
        raise Problem("form-out-of-date")


def _as_page(viewer: Viewer, problem: Response) -> Response:
    if problem.headers.get("content-type") != MEDIA_TYPE:
        return problem
    content = json.loads(bytes(problem.body))
    page = show("problem.html", viewer, page="problem", status_code=problem.status_code, problem=content)
    for name, value in problem.headers.items():  # such as Retry-After
        page.headers.setdefault(name, value)
    return page


async def posted(request: Request) -> FormData:
    return await request.form()


Posted = Annotated[FormData, Depends(posted)]
