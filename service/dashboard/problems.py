"""Explains each kind of problem and its remedy at the address in the problem's `type`; no key is needed."""

from fastapi import APIRouter, HTTPException, Response

from service.dashboard.shell import PageRoute, Viewing, show
from service.problem_kinds import KINDS

router = APIRouter(route_class=PageRoute)


@router.get("/problems")
async def problems_page(viewer: Viewing) -> Response:
    return show("problem_kinds.html", viewer, page="problems", kinds=KINDS)


@router.get("/problems/{name}")
async def problem_page(name: str, viewer: Viewing) -> Response:
    if name not in KINDS:
        raise HTTPException(404, f"no problem is called {name!r}; /problems lists them")
    return show("problem_kind.html", viewer, page="problems", name=name, kind=KINDS[name])
