"""`/docs`: Swagger UI, served from a package on this machine. The page needs no internet and runs no inline script."""

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, HTTPException, Response
from fastapi.responses import FileResponse

router = APIRouter(include_in_schema=False)

HERE = Path(__file__).parent
SWAGGER_UI = Path(str(files("fastapi_offline") / "static"))
# Its scripts and styles come from here alone; it asks only this service. Its icons are data in its style sheet.
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
FILES = {
    "start.js": (HERE / "reference.js", "text/javascript"),
    "swagger-ui.css": (SWAGGER_UI / "swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (SWAGGER_UI / "swagger-ui-bundle.js", "text/javascript"),
}
# They change with an upgrade alone, and the ETag tells then.
KEPT = {"Cache-Control": "private, no-cache"}


@router.get("/docs")
def read_reference() -> Response:
    return FileResponse(HERE / "reference.html", headers={"Content-Security-Policy": POLICY}, media_type="text/html")


@router.get("/docs/{name}")
def read_reference_file(name: str) -> Response:
    """One of three files; the name only chooses among them."""
    if name not in FILES:
        raise HTTPException(404)
    path, media_type = FILES[name]
    return FileResponse(path, headers=KEPT, media_type=media_type)
