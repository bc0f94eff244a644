"""Exchanges an API key for a session cookie, and ends the session."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from service.access import sessions
from service.access.keys import FORM
from service.dashboard.shell import PageRoute, Posted, Viewing, show
from service.dependencies import Services

router = APIRouter(route_class=PageRoute)


@router.get("/sign-in")
async def sign_in_page(
    viewer: Viewing, services: Services, next: Annotated[str, Query(max_length=2000)] = "/"
) -> Response:
    if services.settings.auth == "off":
        return RedirectResponse("/", 303)
    return _page(viewer, next)


@router.post("/sign-in")
async def sign_in(viewer: Viewing, services: Services, fields: Posted, request: Request) -> Response:
    text, wanted = str(fields.get("key", "")).strip(), str(fields.get("next", "/"))
    keyring = services.keyring
    key = await keyring.find_or_refresh(keyring.find, text) if FORM.fullmatch(text) else None
    if key is None:
        return _page(viewer, wanted, refused=True)

    def begin() -> str:
        with services.database.write() as session:
            return sessions.begin(session, key.id)

    answer = RedirectResponse(_local(wanted), 303)
    # A TLS proxy sends the scheme that the browser used. A forged header only makes the cookie stricter.
    secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
    answer.set_cookie(
        sessions.COOKIE,
        await to_thread.run_sync(begin),
        max_age=int(sessions.LIFETIME.total_seconds()),
        httponly=True,
        samesite="strict",
        secure=secure,
    )
    return answer


@router.post("/sign-out")
def sign_out(services: Services, request: Request) -> Response:
    with services.database.write() as session:
        sessions.end(session, request.cookies.get(sessions.COOKIE, ""))
    services.keyring.refresh()
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(sessions.COOKIE, httponly=True, samesite="strict")
    return answer


def _page(viewer: Viewing, wanted: str, *, refused: bool = False) -> HTMLResponse:
    status = 403 if refused else 200
    return show("sign_in.html", viewer, page="sign_in", status_code=status, next=_local(wanted), refused=refused)


def _local(address: str) -> str:
    """A path on this site; anything else could lead to another site and becomes the start page."""
    is_local = address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()
    return address if is_local else "/"
