"""The pages about models: all versions, one with its card, two compared, and forms for promotion and deletion."""

import re
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup
from pydantic import ValidationError

from dermatriage_client.problems import Finding
from dermatriage_client.schemas import Why
from models_store import wording
from models_store.database import release
from models_store.store import registry
from models_store.tables import Model
from service.access.gate import Caller
from service.dashboard.markdown import html_of
from service.dashboard.shell import PageRoute, Posted, Viewing, show
from service.dependencies import Identifier, Reading, Services, Writing
from service.errors import Problem, unprocessable
from service.models import downloads
from service.models.comparing import compare
from service.models.endpoints import Compared, list_models, origins
from service.presentation.comparison_plots import overlaid
from service.presentation.plots import result_plots
from service.web.cursor_pages import RequestedPage

router = APIRouter(route_class=PageRoute)
METADATA = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


@router.get("/models")
def models_page(viewer: Viewing, session: Reading, services: Services, page_request: RequestedPage) -> HTMLResponse:
    return show(
        "models.html",
        viewer,
        page="models",
        models=list_models(session, page_request),
        champion=registry.champion(session),
        predecessor=registry.predecessor(session),
        revision=registry.revision(session),
        history=registry.history(session),
        refusal=services.predictor.refusal,
        first=page_request.before is None,
    )


@router.get("/models/compare")
def compare_page(a: Compared, b: Compared, viewer: Viewing, session: Reading, services: Services) -> HTMLResponse:
    first, second, champion = registry.model(session, a), registry.model(session, b), registry.champion(session)
    origin = origins(session, [first, second])
    release(session)
    compared = compare(first, second, services.storage)
    plots = overlaid(first, second) if compared.same_test_set else []
    return show(
        "compare.html", viewer, page="models", comparison=compared, plots=plots, champion=champion, origin=origin
    )


@router.get("/models/{version}")
def model_page(version: Identifier, viewer: Viewing, session: Reading, services: Services) -> HTMLResponse:
    model = registry.model(session, version)
    champion, revision, history = registry.champion(session), registry.revision(session), registry.history(session)
    release(session)
    card, no_card = _card(model, services)
    complete = bool(model.metrics.get("confusion"))
    return show(
        "model.html",
        viewer,
        page="models",
        model=model,
        champion=champion,
        is_champion=champion is not None and champion.version == version,
        revision=revision,
        promotions=[step for step in history if version in (step.version, step.previous)],
        guarantee=model.calibration["guarantee"],
        figures=wording.figure_rows(model.metrics) if complete else None,
        plots=result_plots(model.metrics) if complete else [],
        card=card,
        no_card=no_card,
    )


@router.post("/models/rollback")
def roll_back(fields: Posted, session: Writing, caller: Caller) -> RedirectResponse:
    registry.roll_back(session, actor=caller, reason=_reason(fields), expected_revision=_revision(fields))
    return RedirectResponse("/models#history", 303)


@router.post("/models/{version}/promote")
def promote(version: Identifier, fields: Posted, session: Writing, caller: Caller) -> RedirectResponse:
    expected = _revision(fields)
    registry.promote(session, version, actor=caller, reason=_reason(fields), expected_revision=expected)
    return RedirectResponse("/models#history", 303)


@router.post("/models/{version}/delete")
def delete(version: Identifier, session: Writing, caller: Caller) -> RedirectResponse:
    registry.delete(session, version, caller)
    return RedirectResponse("/models", 303)


def _card(model: Model, services: Services) -> tuple[Any, str | None]:
    """The card as HTML, or the reason why it cannot be shown."""
    try:
        return card_html(downloads.card(model, services.storage)), None
    except Problem as problem:
        return None, problem.detail


def card_html(markdown: str) -> Markup:
    """Leaves out the metadata at the start."""
    return html_of(METADATA.sub("", markdown, count=1), heading_offset=2)


def _reason(fields: Any) -> str:
    try:
        return Why.model_validate({"reason": str(fields.get("reason", "")).strip()}).reason
    except ValidationError as error:
        finding = Finding(detail=error.errors()[0]["msg"], pointer="/reason")
        raise unprocessable("no reason was given", "Go back and enter a reason for the history.", finding) from error


def _revision(fields: Any) -> int:
    """The revision that the viewer saw; it has the role of `If-Match` in the API."""
    text = str(fields.get("revision", ""))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        finding = Finding(detail="it is not a number", pointer="/revision")
        raise unprocessable("the form has no revision", "Load the page again.", finding)
    return int(text)
