"""The API's documentation: what the OpenAPI document says beyond types, and `/docs`, served without internet."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse

from dermatriage_client.problems import KIND_PREFIX, MEDIA_TYPE, ProblemDocument
from models_store.contract.catalog import DISCLAIMER
from service.access.gate import scope_needed

TITLES = {
    400: ("bad-request", "Bad Request", "There was an error parsing the body"),
    401: ("unauthorized", "A key is needed", "the request shows no API key that is in use"),
    403: ("forbidden", "This is not allowed", "it takes a key with the scope submit; this one has predict"),
    404: ("not-found", "There is no such thing", "nothing here has that id"),
    408: ("request-timeout", "Request Timeout", "the body did not arrive within 60 seconds"),
    409: ("conflict", "It does not fit the present state", "the experiment has already succeeded"),
    412: ("revision-changed", "The champion changed in the meantime", "the champion is at revision 3, not 2"),
    413: ("content-too-large", "Content Too Large", "the request has more than 10,551,296 bytes"),
    415: ("image-format-unknown", "The file is not an image", "it is not PNG, JPEG, WebP, BMP or TIFF"),
    422: ("invalid-request", "The request is not valid", "epochs: Input should be greater than or equal to 1"),
    429: ("too-many-requests", "Too many requests", "this caller may send 6,000 requests a minute"),
    500: ("internal-error", "Something unexpected happened", "the server failed to answer this request"),
    503: ("no-champion", "No model answers yet", "no model has been promoted"),
}
CHARSET = ("charset-unknown", "The charset is not read here", "the body is said to be text in 'punycode'")
REMEDY = "Each problem says here what to do about it."

KEY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key made by `dermatriage keys create`; not needed while the server runs with `AUTH=off`.",
}

Responses = dict[int | str, dict[str, Any]]


def problems(*statuses: int) -> Responses:
    """The error answers of an operation, each with an example; 500 is always among them."""
    return {status: _problem_response(status) for status in (*statuses, 500)}


def describe(app: FastAPI) -> None:
    """Lets `app.openapi()` know the schema that `problems` refers to."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
                tags=app.openapi_tags,
                webhooks=app.webhooks.routes,
            )
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(schema.pop("$defs"))
            schemas["ProblemDocument"] = schema
            document["components"]["securitySchemes"] = {"key": KEY_SCHEME}
            for path, methods in document["paths"].items():
                for method, operation in methods.items():
                    _guard(method.upper(), path, operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _guard(method: str, path: str, operation: dict[str, Any]) -> None:
    """Says what the gate in front of every operation may answer."""
    answers = operation["responses"]
    answers.setdefault("400", _problem_response(400))
    if method == "POST":
        answers["408"] = _problem_response(408)
        answers.setdefault("415", _problem_response(415, CHARSET))
    needed = scope_needed(method, path)
    if needed is None:
        return
    operation["security"] = [{}, {"key": []}]
    operation["description"] = f"{operation.get('description', '')}\n\nScope: `{needed}`.".strip()
    for status in (401, 403, 429):
        answers[str(status)] = _problem_response(status)


def _problem_response(status: int, said: tuple[str, str, str] | None = None) -> dict[str, Any]:
    kind, title, detail = said or TITLES[status]
    example = {"type": KIND_PREFIX + kind, "title": title, "status": status, "detail": detail, "remedy": REMEDY}
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    content = {MEDIA_TYPE: {"schema": schema, "example": {**example, "instance": "/v1/…"}}}
    return {"description": title, "content": content}


DESCRIPTION = f"""Trains, calibrates and serves a screening classifier for skin lesions (malignant or benign).

Recall on malignant comes first wherever a number is reported. Errors are RFC 9457 `application/problem+json` with a
`remedy`. **{DISCLAIMER}**"""


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
