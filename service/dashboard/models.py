"""The page `Models`."""

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from service.dashboard.shell import PageRoute, Viewing, show

router = APIRouter(route_class=PageRoute)


@router.get("/models")
def models_page(viewer: Viewing) -> HTMLResponse:
    return show("models.html", viewer, page="models")
