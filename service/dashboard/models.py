"""The page `Models`: which one answers, which there are, who chose, and a change of the choice with its reason."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError

from models_store import registry, wording
from models_store.tables import Model
from service.dashboard.cards import card_html
from service.dashboard.forms import Posted
from service.dashboard.overlaid import overlaid
from service.dashboard.shell import PageRoute, Viewing, show
from service.deps import Identifier, Reading, Services, Writing
from service.errors import Finding, Problem, unprocessable
from service.experiments.report import plots
from service.models import downloads
from service.models.comparing import compare
from service.models.endpoints import list_models
from service.models.schemas import Why
from service.pages import Turned
from service.security import Caller

router = APIRouter(route_class=PageRoute)

Version = Annotated[str, Query(max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]


@router.get("/models")
def models_page(viewer: Viewing, session: Reading, services: Services, turn: Turned) -> HTMLResponse:
    return show(
        "models.html",
        viewer,
        page="models",
        models=list_models(session, turn),
        champion=registry.champion(session),
        predecessor=registry.predecessor(session),
        revision=registry.revision(session),
        history=registry.history(session),
        refusal=services.predictor.refusal,
        first=turn.before is None,
    )


@router.get("/models/compare")
def compare_page(a: Version, b: Version, viewer: Viewing, session: Reading) -> HTMLResponse:
    compared = compare(registry.model(session, a), registry.model(session, b))
    drawn = overlaid(compared.a, compared.b) if compared.same_test_set else []
    champion = registry.champion(session)
    return show("compare.html", viewer, page="models", it=compared, drawn=drawn, champion=champion)


@router.get("/models/{version}")
def model_page(version: Identifier, viewer: Viewing, session: Reading, services: Services) -> HTMLResponse:
    model = registry.model(session, version)
    champion, revision, history = registry.champion(session), registry.revision(session), registry.history(session)
    session.close()  # its connection is for others while the store is read
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
        moves=[step for step in history if version in (step.version, step.previous)],
        guarantee=model.calibration["guarantee"],
        figures=wording.figure_rows(model.metrics) if complete else None,
        drawn=_drawn(model.metrics) if complete else [],
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


def _card(model: Model, services: Services) -> tuple[Any, str | None]:
    """The card as HTML, or why it cannot be shown."""
    try:
        return card_html(downloads.card(model, services.storage)), None
    except Problem as problem:
        return None, problem.detail


def _drawn(test: dict[str, Any]) -> list[Any]:
    curves = [plots.roc(test), plots.precision_recall(test)] if test.get("curve") else []
    return [*curves, plots.reliability(test), plots.diagnoses(test)]


def _reason(fields: Any) -> str:
    try:
        return Why.model_validate({"reason": str(fields.get("reason", "")).strip()}).reason
    except ValidationError as error:
        finding = Finding(detail=error.errors()[0]["msg"], pointer="/reason")
        raise unprocessable("no reason was given", "Go back and say why; the history will tell it.", finding) from error


def _revision(fields: Any) -> int:
    """What the viewer saw when they decided; the form carries it as the API's `If-Match` does."""
    text = str(fields.get("revision", ""))
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        finding = Finding(detail="it is not a number", pointer="/revision")
        raise unprocessable("the form names no revision", "Load the page again.", finding)
    return int(text)
