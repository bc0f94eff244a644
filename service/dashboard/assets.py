"""Style sheet, script and plotly.js, at addresses that change with their content, so that a browser keeps them."""

import gzip
import hashlib
from functools import cache
from pathlib import Path

import plotly.offline
from fastapi import APIRouter, Request, Response

from service.errors import Problem

FOLDER = Path(__file__).parent / "static"
MEDIA_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
PLOTLY = "plotly.min.js"
KEPT_FOREVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@cache
def content(name: str) -> bytes:
    """What the asset of this name holds. Raises `KeyError` for others."""
    if name == PLOTLY:
        return bytes(plotly.offline.get_plotlyjs().encode())
    if name not in {path.name for path in FOLDER.iterdir()}:
        raise KeyError(name)
    return (FOLDER / name).read_bytes()


@cache
def asset(name: str) -> str:
    """The address of an asset, which names its content."""
    return f"/static/{hashlib.sha256(content(name)).hexdigest()[:16]}/{name}"


@cache
def compressed(name: str) -> bytes:
    return gzip.compress(content(name), 6, mtime=0)  # plotly.js: 4.8 MB become 1.5


@router.get("/static/{digest}/{name}")
def read_asset(digest: str, name: str, request: Request) -> Response:  # noqa: ARG001 (the digest only names a version)
    try:
        body = content(name)
    except KeyError:
        raise Problem(404, "not-found", "Not Found", f"there is no file {name}", "Load the page again.") from None
    headers = {"Cache-Control": KEPT_FOREVER, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = compressed(name), "gzip"
    return Response(body, 200, headers, media_type=MEDIA_TYPES[Path(name).suffix])
