"""Model versions: read, download, promote, roll back, delete."""

import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from dermatriage_client.examples import VERSION
from dermatriage_client.schemas import ComparisonRead, DifferenceRead, History, ModelRead, Page, PromotionRead, Why
from models_store.database import release
from models_store.store import registry
from models_store.tables import Experiment, Model, Promotion
from service.access.gate import Caller
from service.dependencies import Identifier, IdPrefix, Reading, Services, Writing
from service.errors import Problem
from service.models import downloads
from service.models.comparing import PairedTest, compare
from service.models.downloads import altered
from service.models.stored import ALTERED
from service.models.validation import ValidationNotKept, ValidationRead, read_validation
from service.web.api_docs import problems
from service.web.cursor_pages import RequestedPage, page


class MarkdownResponse(PlainTextResponse):
    media_type = "text/markdown"


router = APIRouter(prefix="/v1/models", tags=["models"])

IfMatch = Annotated[
    str | None,
    Header(description="The ETag of any model, read before deciding: refuses if the champion changed since."),
]

Compared = Annotated[
    str, Query(max_length=64, pattern=r"^[A-Za-z0-9_-]+$", description="Version of a model.", examples=[VERSION])
]


@router.get("", responses=problems("invalid-request"))
def list_models(session: Reading, page_request: RequestedPage, prefix: IdPrefix = "") -> Page[ModelRead]:
    """Newest first."""
    champion = registry.champion(session)
    query = select(Model).where(Model.deleted_at.is_(None))
    if prefix:
        query = query.where(Model.version.startswith(prefix, autoescape=True))
    return page(
        session,
        query,
        page_request,
        Model.created_at,
        Model.version,
        lambda rows: _shown(session, rows, champion),
    )


@router.get("/history", responses=problems())
def list_promotions(session: Reading) -> History:
    """Who made which model champion, when, and why."""
    return History(items=[PromotionRead.model_validate(step) for step in registry.history(session)])


@router.get("/compare", responses=problems("model-not-found", "invalid-request"))
def compare_models(a: Compared, b: Compared, session: Reading, services: Services) -> ComparisonRead:
    """How far the figures of B exceed those of A on the same test images, and whether chance explains it."""
    first, second = registry.model(session, a), registry.model(session, b)
    release(session)
    compared = compare(first, second, services.storage)
    return ComparisonRead(
        a=a,
        b=b,
        same_test_set=compared.same_test_set,
        not_tested=compared.not_tested,
        differences=[_difference(test) for test in compared.tests],
    )


@router.post(
    "/rollback",
    responses=problems("nothing-to-roll-back-to", "revision-changed", "revision-unknown", "invalid-request"),
)
def roll_back_champion(
    why: Why, session: Writing, response: Response, caller: Caller, if_match: IfMatch = None
) -> PromotionRead:
    """Makes the champion's predecessor champion again; doing it twice goes back two promotions."""
    step = registry.roll_back(session, actor=caller, reason=why.reason, expected_revision=_expected_revision(if_match))
    return _shown_promotion(session, step, response)


@router.get("/{version}", responses=problems("model-not-found", "invalid-request"))
def read_model(version: Identifier, session: Reading, response: Response) -> ModelRead:
    """One model. The ETag counts the moves of the champion; send it back as `If-Match` when promoting."""
    response.headers["ETag"] = f'"{registry.revision(session)}"'
    return _shown(session, [registry.model(session, version)], registry.champion(session))[0]


@router.delete(
    "/{version}", status_code=204, responses=problems("model-not-found", "model-is-champion", "invalid-request")
)
def delete_model(version: Identifier, session: Writing, caller: Caller) -> None:
    """Deletes a model with its bundle, unless it is the champion; repeating the request changes nothing.

    The record stays: its test results, when it was champion and what it predicted.
    """
    registry.delete(session, version, caller)


@router.post(
    "/{version}/promote",
    responses=problems("model-not-found", "revision-changed", "revision-unknown", "invalid-request"),
)
def promote_model(
    version: Identifier, why: Why, session: Writing, response: Response, caller: Caller, if_match: IfMatch = None
) -> PromotionRead:
    """Makes this version the champion that answers `/predict`."""
    expected = _expected_revision(if_match)
    step = registry.promote(session, version, actor=caller, reason=why.reason, expected_revision=expected)
    return _shown_promotion(session, step, response)


@router.get(
    "/{version}/card",
    response_class=MarkdownResponse,
    responses={
        200: {"content": {"text/markdown": {"example": "# CNN_v1-W3/LowLR\n…"}}},
        **problems("model-not-found", "invalid-request", "bundle-altered"),
    },
)
def read_model_card(version: Identifier, session: Reading, services: Services) -> Response:
    """The model card: what it is for, its figures with recall first, and its limits."""
    model = registry.model(session, version)
    release(session)
    return MarkdownResponse(downloads.card(model, services.storage))


@router.get(
    "/{version}/bundle",
    response_class=StreamingResponse,
    responses={
        200: {
            "content": {
                "application/zip": {
                    "schema": {"type": "string", "format": "binary"},
                    "example": "(the bytes of a zip archive)",
                }
            }
        },
        **problems("model-not-found", "invalid-request", "bundle-altered"),
    },
)
def read_model_bundle(version: Identifier, session: Reading, services: Services) -> Response:
    """Everything the model consists of, as a zip: ONNX and Keras networks, calibration, figures, card, manifest."""
    model = registry.model(session, version)
    release(session)
    headers = {
        "Content-Length": str(downloads.zipped_bytes(model, services.storage)),
        "Content-Disposition": f'attachment; filename="{model.version}.zip"',
        "ETag": f'"{model.manifest_sha256}"',
    }
    return StreamingResponse(downloads.zipped(model, services.storage), media_type="application/zip", headers=headers)


def origins(session: Session, models: Sequence[Model]) -> dict[str, dict[str, Any]]:
    """Name and seed of the experiment of each model, by version."""
    chosen = select(Model.version, Experiment.name, Experiment.spec["seed"].as_integer()).join(
        Experiment, Experiment.id == Model.experiment_id
    )
    found = session.execute(chosen.where(Model.version.in_([model.version for model in models])))
    return {version: {"experiment_name": name, "seed": seed} for version, name, seed in found}


def _shown(session: Session, models: Sequence[Model], champion: Model | None) -> list[ModelRead]:
    origin = origins(session, models)
    columns = [column.key for column in Model.__mapper__.column_attrs]
    return [
        ModelRead.model_validate(
            {
                **{name: getattr(model, name) for name in columns},
                **origin[model.version],
                "champion": champion is not None and champion.version == model.version,
            }
        )
        for model in models
    ]


def _difference(test: PairedTest) -> DifferenceRead:
    return DifferenceRead(
        figure=test.figure,
        images=test.images,
        only_a=test.only_a,
        only_b=test.only_b,
        **asdict(test.difference),
        method=test.method,
        shown=test.is_shown,
        sentence=test.sentence,
    )


def _shown_promotion(session: Session, step: Promotion, response: Response) -> PromotionRead:
    response.headers["ETag"] = f'"{registry.revision(session)}"'
    return PromotionRead.model_validate(step)


def _expected_revision(if_match: str | None) -> int | None:
    if if_match is None or if_match.strip() == "*":
        return None
    strong = re.fullmatch(r'"(\d{1,9})"', if_match.strip())
    if strong is None:
        raise Problem("revision-unknown", f"{if_match!r} is not an ETag of this service")
    return int(strong[1])


@router.get(
    "/{version}/validation",
    responses=problems("model-not-found", "validation-not-kept", "invalid-request", "bundle-altered"),
)
def read_model_validation(version: Identifier, session: Reading, services: Services) -> ValidationRead:
    """The scores of the validation images, for moving the threshold; test figures exist only at the sealed one."""
    model = registry.model(session, version)
    release(session)
    try:
        return read_validation(model, services.storage)
    except ValidationNotKept as lacking:
        raise Problem("validation-not-kept", str(lacking)) from lacking
    except ALTERED as changed:
        raise altered(changed) from changed
