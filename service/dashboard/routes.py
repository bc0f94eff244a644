"""All pages of the dashboard. They are not part of the API's description."""

from urllib.parse import quote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse

from service.dashboard import (
    assets,
    data_format,
    experiment,
    experiment_list,
    models,
    new_experiment,
    problems,
    result,
    sign_in,
    system,
    try_it,
)

router = APIRouter(include_in_schema=False)
PARTS = (
    assets,
    sign_in,
    experiment_list,
    new_experiment,
    data_format,
    result,
    experiment,
    models,
    try_it,
    system,
    problems,
)
for part in PARTS:
    router.include_router(part.router)


@router.get("/studies/{rest:path}")
def former_address(rest: str, request: Request) -> RedirectResponse:
    """Experiments were at /studies before; bookmarks and links still lead to their pages."""
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"/experiments/{quote(rest)}{query}", 308)
