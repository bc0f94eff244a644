"""Style sheets, scripts and plotly.js at addresses that change with their content, so browsers can cache them."""

import gzip
import hashlib
from functools import cache
from pathlib import Path

import plotly.offline
from fastapi import APIRouter, Request, Response

from service.errors import Problem
from service.presentation.templates import STATIC

FOLDERS = (Path(__file__).parent / "static", STATIC)
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PLOTLY = "plotly.min.js"
CACHE_CONTROL = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@cache
def content(name: str) -> bytes:
    """The bytes of an asset. Raises `KeyError` if there is none of this name."""
    if name == PLOTLY:
        return bytes(plotly.offline.get_plotlyjs().encode())
    return {path.name: path for folder in FOLDERS for path in folder.iterdir()}[name].read_bytes()


@cache
def asset(name: str) -> str:
    """The address of an asset, with the hash of its content."""
    return f"/static/{hashlib.sha256(content(name)).hexdigest()[:16]}/{name}"


@cache
def compressed(name: str) -> bytes:
    return gzip.compress(content(name), 6, mtime=0)  # plotly.js: from 4.8 to 1.5 MB


@router.get("/static/{digest}/{name}")
def read_asset(digest: str, name: str, request: Request) -> Response:  # noqa: ARG001 (only part of the address)
    try:
        body = content(name)
    except KeyError:
        raise Problem("not-found", f"there is no file {name}", "Load the page again.") from None
    headers = {"Cache-Control": CACHE_CONTROL, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = compressed(name), "gzip"
    return Response(body, 200, headers, media_type=MEDIA_TYPES[Path(name).suffix])
