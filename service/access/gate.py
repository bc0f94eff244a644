"""Who may use the service, and for what: decided before the body of a request is read."""

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, cast
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import RedirectResponse
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from models_store.settings import Settings
from service.access.keys import FORM, KeyInUse, Keyring, Scope
from service.access.rates import Rates
from service.access.sessions import COOKIE, form_token
from service.errors import Problem
from service.web.scope_marks import address as api_address

OPEN = ("/healthz", "/readyz", "/sign-in")
SAFE = ("GET", "HEAD", "OPTIONS")
API = ("/v1/", "/predict")
OUTCOME = re.compile(r"/v1/predictions/[^/]+/outcome")
SPLIT = re.compile(r"/v1/datasets/[^/]+/split")
CALLER = "dermatriage.caller"
KEY_ID = "dermatriage.key_id"
SCOPES = "dermatriage.scopes"
FORM_TOKEN = "dermatriage.form_token"
STILL_ADMITTED = "dermatriage.still_admitted"
RATE_LIMIT = "dermatriage.rate_limit"
FORM_TOKEN_HEADER = "x-form-token"


class OpenAccessRefused(RuntimeError):
    """The settings would let anyone on the network in."""


def refuse_open_access(settings: Settings) -> None:
    """Raises `OpenAccessRefused` unless only this machine can reach the service, or callers have to show a key."""
    if settings.auth == "off" and not is_loopback(settings.host):
        raise OpenAccessRefused(
            f"DERMATRIAGE_AUTH=off would let anyone who reaches {settings.host} submit experiments; listen on loopback "
            "(DERMATRIAGE_HOST=127.0.0.1), or set DERMATRIAGE_AUTH=keys and make a key with `dermatriage keys create`"
        )


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def scope_needed(method: str, path: str, *, metrics_open: bool = False) -> Scope | None:
    """The scope that a request needs; None if it needs no key. A request that is not listed here needs `admin`."""
    if path in OPEN or (metrics_open and path == "/metrics"):
        return None
    if method in SAFE and f"{path}/".startswith(("/static/", "/problems/")):
        return None
    if method in SAFE or path == "/sign-out":
        return "read"
    if method == "POST" and path.startswith("/experiments/") and path.endswith("/delete"):
        return "admin"
    if method == "POST" and path in ("/predict", "/v1/predict", "/v1/predict/batch"):
        return "predict"
    if method == "POST" and OUTCOME.fullmatch(path):
        return "verify"
    if method == "POST" and f"{path}/".startswith(("/v1/experiments/", "/experiments/", "/studies/")):
        return "submit"
    if method == "POST" and (path == "/v1/datasets" or SPLIT.fullmatch(path)):
        return "submit"
    return "admin"


@dataclass(frozen=True)
class Gate:
    """Admits a request or refuses it, and puts its caller into the scope for the endpoints.

    Signing in has its own `sign_in_rates`, so that no other traffic of an address, with a key or without, uses them up.
    """

    app: ASGIApp
    settings: Settings
    keyring: Keyring
    rates: Rates
    sign_in_rates: Rates

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            await self._admit(scope)
        except Problem as problem:
            answer = _to_sign_in(scope) if problem.status == 401 and is_page_visit(scope) else None
            await (answer or problem.response(Request(scope)))(scope, receive, send)
            return
        await self.app(scope, receive, send)

    async def _admit(self, scope: Connection) -> None:
        needed = scope_needed(scope["method"], api_address(scope), metrics_open=self.settings.metrics_open)
        if needed is None and scope["method"] in SAFE:
            return
        headers = Headers(scope=scope)
        address = scope["client"][0] if scope.get("client") else "unknown"
        if scope["method"] not in SAFE and _is_cross_site(scope["scheme"], headers):
            raise _forbidden("another web site sent it through a browser", "Send it from this site or from a program.")
        if self.settings.auth == "off":
            if _is_public_name(headers.get("host", "")):
                raise _forbidden(
                    "the Host header names a public host, as in a DNS rebinding attack",
                    "Call it as localhost or 127.0.0.1, or set DERMATRIAGE_AUTH=keys.",
                )
            scope[CALLER] = "local"
            self._apply_rate_limit(scope, address)
            return
        if needed is None:
            self._apply_rate_limit(scope, address, self.sign_in_rates if scope["path"] == "/sign-in" else None)
            return
        key = await self._find(scope, headers)
        self._apply_rate_limit(scope, address if key is None else key.id)
        if key is None:
            raise _unauthorized()
        if not key.allows(needed):
            detail = f"it takes a key with the scope {needed}; this one has {', '.join(sorted(key.scopes))}"
            raise _forbidden(detail, f"Make one with `dermatriage keys create --scope {needed} NAME`.")
        scope[CALLER], scope[KEY_ID], scope[SCOPES] = key.name, key.id, key.scopes

    async def _find(self, scope: Connection, headers: Headers) -> KeyInUse | None:
        """The key in the request's header, or the one that its browser signed in with."""
        if "authorization" in headers:
            kind, _, text = headers["authorization"].partition(" ")
            if kind.lower() != "bearer" or not FORM.fullmatch(text := text.strip()):
                return None
            scope[STILL_ADMITTED] = lambda: self.keyring.valid_key(text) is not None
            return await self.keyring.find_or_refresh(self.keyring.find, text)
        cookie = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        if not cookie or (key := await self.keyring.find_or_refresh(self.keyring.find_by_cookie, cookie)) is None:
            return None
        scope[FORM_TOKEN] = form_token(cookie)
        scope[STILL_ADMITTED] = lambda: self.keyring.valid_session_key(cookie) is not None
        # A browser adds its cookie to the requests of any site. Forms of our pages are checked where they are parsed.
        shown = headers.get(FORM_TOKEN_HEADER, "").encode()
        if _changes_by_api(scope) and not hmac.compare_digest(shown, scope[FORM_TOKEN].encode()):
            raise _forbidden("it has a session cookie and no form token of our pages", "Send an API key instead.")
        return key

    def _apply_rate_limit(self, scope: Connection, caller: str, rates: Rates | None = None) -> None:
        rate_limit = scope[RATE_LIMIT] = (rates or self.rates).take(caller)
        if not rate_limit.granted:
            raise Problem(
                "too-many-requests",
                f"this caller may send {self.settings.requests_per_minute:,} requests a minute",
                f"Wait {rate_limit.seconds_to_next} s, and send many images at once with POST /v1/predict/batch.",
                headers={"Retry-After": str(rate_limit.seconds_to_next)},
            )


def _changes_by_api(scope: Connection) -> bool:
    return scope["method"] not in SAFE and api_address(scope).startswith(API)


def is_page_visit(scope: Connection) -> bool:
    """Whether a browser requests a page and can be sent to sign in. A program has to send a key."""
    headers = Headers(scope=scope)
    return scope["method"] in SAFE and "text/html" in headers.get("accept", "") and not headers.get("authorization")


def _is_cross_site(scheme: str, headers: Headers) -> bool:
    """Whether the browser's headers name another site as the sender. Programs and old browsers send no such header."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in ("none", "same-origin")
    # Browsers leave `Sec-Fetch-Site` out where the page came by plain HTTP. TLS may end at a proxy that is not trusted.
    origin, host = headers.get("origin"), headers.get("host", "")
    return origin is not None and origin.lower() not in (f"{scheme}://{host}".lower(), f"https://{host}".lower())


def _to_sign_in(scope: Connection) -> RedirectResponse:
    query = scope.get("query_string", b"").decode("latin-1")
    wanted = scope["path"] + (f"?{query}" if query else "")
    return RedirectResponse(f"/sign-in?next={quote(wanted, safe='')}", 303)


def _is_public_name(host: str) -> bool:
    """Whether the name may be an attacker's whose DNS points here (DNS rebinding): such names have a dot."""
    name = host if host.startswith("[") else host.partition(":")[0]
    return "." in name and not is_loopback(name)


def _unauthorized() -> Problem:
    return Problem("unauthorized", headers={"WWW-Authenticate": 'Bearer realm="DermaTriage"'})


def _forbidden(detail: str, remedy: str) -> Problem:
    return Problem("forbidden", detail, remedy)


def still_admitted(request: Request) -> Callable[[], bool]:
    """A check whether the request's key or session is still valid, for answers that last."""
    return cast(Callable[[], bool], request.scope.get(STILL_ADMITTED, lambda: True))


async def caller(request: Request) -> str:
    """Who is recorded as the actor of a change: the name of the key, or `local`."""
    return str(request.scope.get(CALLER, "local"))


async def key_name(request: Request) -> str | None:
    """The name of the caller's key; None where keys are off."""
    return str(request.scope[CALLER]) if KEY_ID in request.scope else None


Caller = Annotated[str, Depends(caller)]
KeyName = Annotated[str | None, Depends(key_name)]
