"""`POST /predict`: one image in, one calibrated decision out; and what was once answered."""

from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, File, Query, Request, UploadFile

from models_store.tables import PredictionRow
from service.deps import Identifier, Reading, Service, Services
from service.errors import Problem
from service.openapi import problems
from service.predictions import heatmap
from service.predictions.answering import ACCEPTED, answer, champion
from service.predictions.express import express_route
from service.predictions.predictor import Serving
from service.predictions.schemas import Explanation, Prediction, PredictionRead
from service.security import KEY_ID


async def _express(services: Service, request: Request, content: bytes) -> Prediction:
    return await answer(services, await champion(services), content, request.scope.get(KEY_ID))


router = APIRouter(tags=["predictions"])
express = APIRouter(tags=["predictions"], route_class=express_route(_express))
explaining = CapacityLimiter(1)

UPLOAD: dict[str, Any] = {
    "requestBody": {"content": {"multipart/form-data": {"example": {"file": "(the bytes of lesion.png)"}}}}
}


@express.post(
    "/predict",
    response_model=Prediction,
    responses=problems(400, 413, 415, 422, 503),
    openapi_extra=UPLOAD,
)
async def predict(
    services: Services,
    request: Request,
    file: Annotated[UploadFile, File(description=f"One image: {ACCEPTED}.")],
    explain: Annotated[bool, Query(description="Whether to add a heatmap; it takes 145 runs more.")] = False,
) -> Prediction:
    """Judges one image with the champion and its calibrated threshold.

    An image that is not of the model's input size is cropped around its centre to a square and resized bicubically.
    """
    content = await file.read()
    serving = await champion(services)
    prediction = await answer(services, serving, content, request.scope.get(KEY_ID))
    if explain:
        prediction.explanation = await _explanation(services, serving, content)
    return prediction


@router.get("/v1/predictions/{prediction_id}", responses=problems(404, 422))
def read_prediction(prediction_id: Identifier, session: Reading, services: Services) -> PredictionRead:
    """One prediction as it was recorded; there at the latest a second after it was answered."""
    found = services.recorder.find(prediction_id)
    if found is not None:
        return PredictionRead.model_validate(found.columns())
    row = session.get(PredictionRow, prediction_id)
    if row is None:
        missing = f"there is no prediction {prediction_id}"
        remedy = "Use the prediction_id of an answer, a second after it came."
        raise Problem(404, "prediction-not-found", "There is no such prediction", missing, remedy)
    return PredictionRead.model_validate(row)


async def _explanation(services: Services, serving: Serving, content: bytes) -> Explanation:
    prepared = await services.judge.decoded(serving, content)
    return await to_thread.run_sync(heatmap.explain, serving.scorer, prepared.pixels, limiter=explaining)
