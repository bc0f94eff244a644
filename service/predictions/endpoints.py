"""`POST /predict`: one image in, one calibrated decision out; and the recorded predictions."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Request, UploadFile
from sqlalchemy import select

from dermatriage_client.schemas import Label, Moment, Page, Prediction, PredictionRead
from models_store.monitoring.outcomes import find_prediction
from models_store.tables import PredictionRow
from service.access.gate import KEY_ID
from service.dependencies import IDENTIFIER, Identifier, Reading, Services
from service.predictions.answering import ACCEPTED, answer, champion, while_connected
from service.predictions.engine.judging import SMALL_BYTES
from service.predictions.express import ExpressRoute
from service.web.api_docs import problems
from service.web.cursor_pages import RequestedPage, page

router = APIRouter(tags=["predictions"])

IMAGE_BODY = {"schema": {"type": "string", "format": "binary"}, "example": "(the bytes of lesion.png)"}
UPLOAD: dict[str, Any] = {
    "requestBody": {
        "content": {
            "multipart/form-data": {"example": {"file": "(the bytes of lesion.png)"}},
            "image/*": IMAGE_BODY,
            "application/dicom": IMAGE_BODY,
        }
    }
}
# Shared by both addresses.
SHARED: dict[str, Any] = {
    "response_model": Prediction,
    "responses": problems(
        "content-too-large",
        "body-not-an-image",
        "image-format-unknown",
        "invalid-request",
        "image-refused",
        "no-champion",
        "overloaded",
    ),
    "openapi_extra": UPLOAD,
    "form_limits": {"max_files": 8, "max_fields": 8, "max_part_size": 4096},
}


async def predict(
    services: Services,
    request: Request,
    file: Annotated[UploadFile, File(description=f"One image: {ACCEPTED}.")],
    explain: Annotated[bool, Query(description="Whether to add a heatmap; it takes 145 more runs.")] = False,
) -> Prediction:
    """Judges one image with the champion and its calibrated threshold. `/predict` and `/v1/predict` are the same.

    The image is the field `file` of a form, or the body itself with its own Content-Type, such as `image/png`.
    A DICOM file (`application/dicom`) is read where the server has the extra `dicom`.
    An image that is not of the model's input size is cropped around its centre to a square and resized bicubically.
    It may have 10 MiB and 40 million pixels (unless the server's settings say otherwise), sides of 16,384 pixels, one
    at most 20 times as long as the other, and take 200 MiB to decode: 13 million pixels of WebP, 20 million of a
    progressive JPEG. Beyond that the answer is 413 or 422; with too many uploads it is 503 with `Retry-After`.
    """
    sent = await file.read() if (file.size or 0) <= SMALL_BYTES else file.file
    serving = await champion(services)
    async with while_connected(request.receive):
        return await answer(services, serving, sent, request.scope.get(KEY_ID), explain=explain)


def add_predict(to: APIRouter) -> None:
    """Adds both addresses to the outermost router: an included one matches each request a second time."""
    for path, operation_id in (("/v1/predict", None), ("/predict", "predict_unversioned")):
        to.add_api_route(
            path,
            predict,
            methods=["POST"],
            tags=["predictions"],
            operation_id=operation_id,
            route_class_override=ExpressRoute,
            **SHARED,
        )


@router.get("/v1/predictions", responses=problems("invalid-request"))
def list_predictions(
    session: Reading,
    page_request: RequestedPage,
    since: Annotated[
        Moment | None, Query(description="Only those answered then or later, such as `2026-01-05T00:00:00Z`.")
    ] = None,
    until: Annotated[Moment | None, Query(description="Only those answered before.")] = None,
    model: Annotated[
        str | None, Query(max_length=64, pattern=IDENTIFIER, description="Only those of this version.")
    ] = None,
    label: Annotated[Label | None, Query(description="Only those with this answer.")] = None,
) -> Page[PredictionRead]:
    """The recorded predictions, newest first; each is listed within a second after its answer."""
    query = select(PredictionRow)
    if since is not None:
        query = query.where(PredictionRow.created_at >= since)
    if until is not None:
        query = query.where(PredictionRow.created_at < until)
    if model is not None:
        query = query.where(PredictionRow.model_version == model)
    if label is not None:
        query = query.where(PredictionRow.label == label)
    return page(session, query, page_request, PredictionRow.created_at, PredictionRow.id, _shown)


def _shown(rows: Sequence[PredictionRow]) -> list[PredictionRead]:
    return [PredictionRead.model_validate(row) for row in rows]


@router.get("/v1/predictions/{prediction_id}", responses=problems("prediction-not-found", "invalid-request"))
def read_prediction(prediction_id: Identifier, session: Reading, services: Services) -> PredictionRead:
    """One prediction as it was recorded, available within a second after its answer."""
    found = services.recorder.find(prediction_id)
    if found is not None:
        return PredictionRead.model_validate(found.columns())
    return PredictionRead.model_validate(find_prediction(session, prediction_id))
