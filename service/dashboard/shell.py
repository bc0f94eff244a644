"""What every page shares: its frame, who looks at it, and a policy under which it loads nothing from elsewhere."""

import hmac
import json
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.datastructures import FormData
from starlette.status import HTTP_500_INTERNAL_SERVER_ERROR
from starlette.types import Receive, Scope, Send

from dermatriage_client.problems import MEDIA_TYPE
from models_store import wording
from models_store.contract.catalog import DISCLAIMER
from service.access.gate import CALLER, FORM_TOKEN, FORM_TOKEN_HEADER, SAFE, SCOPES
from service.dashboard.assets import asset
from service.errors import Problem
from service.presentation import phrases

log = logging.getLogger(__name__)

# plotly.js writes style attributes and a <style> element, and pictures are data: or blob: addresses.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
# `no-referrer` would make a browser send its forms as if they came from nowhere.
HEADERS = {"Content-Security-Policy": PAGE_POLICY, "Referrer-Policy": "same-origin"}

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.policies["json.dumps_kwargs"] = {}  # in the order given: recall first
TEMPLATES.globals |= {"asset": asset, "disclaimer": DISCLAIMER}
TEMPLATES.filters |= wording.FILTERS | {
    "ago": phrases.ago,
    "moment": phrases.moment,
    "duration": phrases.duration,
    "about": phrases.about,
    "code": phrases.code,
}


@dataclass(frozen=True)
class Viewer:
    """Who looks at a page, what they may do, and the token that their forms have to carry."""

    name: str
    scopes: frozenset[str]
    signed_in: bool = False
    form_token: str = ""

    def may(self, scope: str) -> bool:
        return scope in self.scopes or "admin" in self.scopes


async def viewer(request: Request) -> Viewer:
    """The key that the browser signed in with; without keys, whoever sits at this machine, who may do everything."""
    open_to_all = request.app.state.service.settings.auth == "off"
    return Viewer(
        name=str(request.scope.get(CALLER, "nobody")),
        scopes=frozenset(("admin",)) if open_to_all else request.scope.get(SCOPES, frozenset()),
        signed_in=FORM_TOKEN in request.scope,
        form_token=request.scope.get(FORM_TOKEN, ""),
    )


Viewing = Annotated[Viewer, Depends(viewer)]


def show(
    template: str, viewer: Viewer, *, page: str, status_code: int = 200, fragment: bool = False, **content: Any
) -> HTMLResponse:
    """One page, or a part of one. `page` names the script's function for it and the entry of the navigation."""
    text = TEMPLATES.get_template(template).render(viewer=viewer, page=page, fragment=fragment, **content)
    return HTMLResponse(text, status_code, HEADERS)


class PageRoute(APIRoute):
    """A route that takes forms from our own pages alone, and whose errors are pages too.

    Errors leave the endpoint as errors, so that its transaction is rolled back; they become pages only after that.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_own_forms(request: Request) -> Response:
            if request.method not in SAFE:
                await _require_own_form(request)
            return await answer(request)

        return answer_own_forms

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        handlers, by_status = scope["starlette.exception_handlers"]
        unexpected = {Exception: scope["app"].exception_handlers[Exception]}
        paged = {kind: _paged(handler) for kind, handler in (unexpected | handlers).items()}
        scope["starlette.exception_handlers"] = (paged, by_status)
        await super().handle(scope, receive, send)


def _paged(handler: Callable[[Request, Exception], Response]) -> Callable[[Request, Exception], Any]:
    async def answer(request: Request, error: Exception) -> Response:
        told = handler(request, error)
        if told.status_code == HTTP_500_INTERNAL_SERVER_ERROR:
            log.error("the page %s could not be made", request.url.path, exc_info=error)
        return _as_page(await viewer(request), told)

    return answer


async def _require_own_form(request: Request) -> None:
    """Raises `Problem` unless the form carries the token of the session that sends it."""
    expected = request.scope.get(FORM_TOKEN, "")
    shown = request.headers.get(FORM_TOKEN_HEADER) or str((await request.form()).get("form_token", ""))
    if expected and not hmac.compare_digest(shown.encode(), expected.encode()):
        raise Problem(
            403,
            "forbidden",
            "The form is out of date",
            "it was made for another session than the one that sends it",
            "Load the page again and send the form once more.",
        )


def _as_page(viewer: Viewer, problem: Response) -> Response:
    if problem.headers.get("content-type") != MEDIA_TYPE:
        return problem
    told = json.loads(bytes(problem.body))
    page = show("problem.html", viewer, page="problem", status_code=problem.status_code, problem=told)
    for name, value in problem.headers.items():  # such as Retry-After
        page.headers.setdefault(name, value)
    return page


async def posted(request: Request) -> FormData:
    return await request.form()


Posted = Annotated[FormData, Depends(posted)]
