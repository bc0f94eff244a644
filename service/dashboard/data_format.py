"""The page about the files of a data set: docs/data-format.md, which is part of the package."""

from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from service.dashboard.markdown import html_of
from service.dashboard.shell import PageRoute, Viewing, show

router = APIRouter(route_class=PageRoute)
DOCUMENT = Path(__file__).with_name("data-format.md")


@router.get("/data-format")
def data_format_page(viewer: Viewing) -> HTMLResponse:
    text = html_of(DOCUMENT.read_text(encoding="utf-8"), heading_offset=0)
    return show("data_format.html", viewer, page="experiments", text=text)
