"""The page `System`."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from service.dashboard.shell import PageRoute, Viewing, show

router = APIRouter(route_class=PageRoute)


@router.get("/system")
def system_page(viewer: Viewing) -> HTMLResponse:
    return show("system.html", viewer, page="system")
