"""The API's documentation: what the OpenAPI document contains beyond types, and `/docs`, served without internet."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import FileResponse

from dermatriage_client.problems import KIND_PREFIX, MEDIA_TYPE, ProblemDocument
from models_store.contract.catalog import DISCLAIMER
from service.access.gate import scope_needed
from service.problem_kinds import KINDS

KEY_SCHEME = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key made by `dermatriage keys create`; not needed while the server runs with `AUTH=off`.",
}

LIMIT_HEADERS = {
    "RateLimit-Policy": {"description": "Most requests (`q`) in `w` seconds.", "example": '"requests";q=6000;w=60'},
    "RateLimit": {
        "description": "Requests that remain (`r`), and seconds until there is one more (`t`).",
        "example": '"requests";r=5999;t=1',
    },
    "Retry-After": {"description": "Seconds to wait.", "example": "1"},
}

Responses = dict[int | str, dict[str, Any]]


def problems(*kinds: str) -> Responses:
    """The error answers of an operation, with an example for each kind; `internal-error` is always among them."""
    answers: Responses = {}
    for kind in (*kinds, "internal-error"):
        _add_problem(answers, kind)
    return answers


def describe(app: FastAPI) -> None:
    """Adds to `app.openapi()` the schema that `problems` refers to, the key, and the errors of the gate."""

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
                    _add_gate(method.upper(), path, operation)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _add_gate(method: str, path: str, operation: dict[str, Any]) -> None:
    """Adds the scope of an operation, and the errors of the gate in front of it."""
    answers = operation["responses"]
    _add_problem(answers, "bad-request")
    if method == "POST":
        _add_problem(answers, "request-timeout")
        _add_problem(answers, "charset-unknown")
    needed = scope_needed(method, path)
    if needed is None:
        return
    operation["security"] = [{}, {"key": []}]
    operation["description"] = f"{operation.get('description', '')}\n\nScope: `{needed}`.".strip()
    for kind in ("unauthorized", "forbidden", "too-many-requests"):
        _add_problem(answers, kind)
    answers["429"]["headers"] = {name: {"schema": {"type": "string"}, **text} for name, text in LIMIT_HEADERS.items()}


def _add_problem(answers: dict[Any, dict[str, Any]], kind: str) -> None:
    known = KINDS[kind]
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    empty = {"description": known.title, "content": {MEDIA_TYPE: {"schema": schema, "examples": {}}}}
    example = {
        "type": KIND_PREFIX + kind,
        "title": known.title,
        "status": known.status,
        "detail": known.meaning,
        "remedy": known.remedy,
        "instance": "/v1/…",
    }
    content = answers.setdefault(str(known.status), empty)["content"][MEDIA_TYPE]
    content["examples"][kind] = {"summary": known.title, "value": example}


DESCRIPTION = f"""Trains, calibrates and serves a screening classifier for skin lesions (malignant or benign).

Recall on malignant comes first wherever a number is reported. Errors are RFC 9457 `application/problem+json` with a
`remedy`; the `type` of each is the address of a page about it, and `/problems` lists them.
Every answer to a request that is counted has `RateLimit` and `RateLimit-Policy`. **{DISCLAIMER}**"""


router = APIRouter(include_in_schema=False)

HERE = Path(__file__).parent
SWAGGER_UI = Path(str(files("fastapi_offline") / "static"))
# Scripts, styles and requests are limited to this service. The icons are data URLs in the style sheet.
POLICY = (
    "default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'self'; script-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
FILES = {
    "start.js": (HERE / "reference.js", "text/javascript"),
    "theme.js": (HERE / "theme.js", "text/javascript"),
    "reference.css": (HERE / "reference.css", "text/css"),
    "swagger-ui.css": (SWAGGER_UI / "swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (SWAGGER_UI / "swagger-ui-bundle.js", "text/javascript"),
}
# The files change only with an upgrade, and their ETag with them.
CACHE_HEADERS = {"Cache-Control": "private, no-cache"}


@router.get("/docs")
def read_reference() -> Response:
    return FileResponse(HERE / "reference.html", headers={"Content-Security-Policy": POLICY}, media_type="text/html")


@router.get("/docs/{name}")
def read_reference_file(name: str) -> Response:
    """One of `FILES`; the name only chooses among them."""
    if name not in FILES:
        raise HTTPException(404)
    path, media_type = FILES[name]
    return FileResponse(path, headers=CACHE_HEADERS, media_type=media_type)
