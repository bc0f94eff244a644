"""The page `Try it`."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from service.dashboard.shell import PageRoute, Viewing, show

router = APIRouter(route_class=PageRoute)


@router.get("/try")
def try_it_page(viewer: Viewing) -> HTMLResponse:
    return show("try_it.html", viewer, page="try_it")
