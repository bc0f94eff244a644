"""The page `Result`."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from service.dashboard.shell import PageRoute, Viewing, show
from service.deps import Identifier

router = APIRouter(route_class=PageRoute)


@router.get("/studies/{experiment_id}/result")
def result_page(experiment_id: Identifier, viewer: Viewing) -> HTMLResponse:  # noqa: ARG001
    return show("result.html", viewer, page="result")
