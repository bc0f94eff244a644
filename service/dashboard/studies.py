"""The list of studies."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from service.dashboard.shell import PageRoute, Viewing, show

router = APIRouter(route_class=PageRoute)


@router.get("/")
def studies_page(viewer: Viewing) -> HTMLResponse:
    return show("studies.html", viewer, page="studies")
