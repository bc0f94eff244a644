"""`POST /predict`: one image in, one calibrated decision out."""

from functools import partial
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, File, UploadFile

from models_store.tables import new_id
from service.deps import Service, Services
from service.errors import Problem
from service.openapi import problems
from service.predictions.images import ImageRefused, ImageUnknown, Prepared, Warned, prepare
from service.predictions.predictor import Serving
from service.predictions.schemas import Prediction, WarningRead

router = APIRouter(tags=["predictions"])

# Each decoding may hold a few hundred megabytes: 40 million pixels, their RGB copy and the crop.
DECODERS = 4
decoding = CapacityLimiter(DECODERS)

ACCEPTED = "PNG, JPEG, WebP, BMP or TIFF"
REMEDY = f"Send one {ACCEPTED} photograph of the lesion as the multipart field `file`."
UPLOAD: dict[str, Any] = {
    "requestBody": {"content": {"multipart/form-data": {"example": {"file": "(the bytes of lesion.png)"}}}}
}


@router.post("/predict", responses=problems(400, 413, 415, 422, 503), openapi_extra=UPLOAD)
async def predict(
    services: Services, file: Annotated[UploadFile, File(description=f"One image: {ACCEPTED}.")]
) -> Prediction:
    """Judges one image with the champion and its calibrated threshold.

    An image that is not of the model's input size is cropped around its centre to a square and resized bicubically.
    """
    content = await file.read()
    if len(content) > services.settings.max_upload_bytes:
        limit = f"the file has {len(content):,} bytes, more than {services.settings.max_upload_bytes:,}"
        raise Problem(413, "content-too-large", "The file is too large", limit, "Send a smaller image.")
    serving = services.predictor.serving
    if serving is None:
        serving = await to_thread.run_sync(_find_champion, services)
    prepared = await _prepared(content, serving, services.settings.max_image_pixels)
    probability = await to_thread.run_sync(serving.probability, prepared.pixels)
    return _answer(serving, probability, prepared)


def _find_champion(services: Service) -> Serving:
    """Looks again before saying that there is none: a model may have been promoted a moment ago."""
    services.predictor.refresh()
    if services.predictor.serving is None:
        refusal = services.predictor.refusal
        detail = "no model has been promoted" if refusal is None else f"{refusal.version} was refused: {refusal.reason}"
        raise Problem(
            503,
            "no-champion",
            "No model answers yet",
            detail,
            'Submit an experiment with "promote": "always", or POST /v1/models/{version}/promote a finished one.',
        )
    return services.predictor.serving


async def _prepared(content: bytes, serving: Serving, max_pixels: int) -> Prepared:
    work = partial(prepare, content, serving.scorer.input_size, max_pixels)
    try:
        return await to_thread.run_sync(work, limiter=decoding)
    except ImageUnknown as unknown:
        title = "The file is not an image that can be read"
        raise Problem(415, "image-format-unknown", title, str(unknown), REMEDY) from unknown
    except ImageRefused as refused:
        raise Problem(422, "image-refused", "The image is refused", str(refused), REMEDY) from refused


def _answer(serving: Serving, probability: float, prepared: Prepared) -> Prediction:
    return Prediction(
        prediction_id=new_id("prd"),
        label="malignant" if probability >= serving.threshold else "benign",
        probability_malignant=probability,
        threshold=serving.threshold,
        model_version=serving.version,
        dataset=serving.dataset,
        guarantee=serving.guarantee,
        warnings=[WarningRead.model_validate(warned) for warned in (*_about_model(serving), *prepared.warnings)],
    )


def _about_model(serving: Serving) -> list[Warned]:
    noticed = []
    if serving.synthetic:
        noticed.append(Warned("synthetic_model", "The model was trained on generated images; it knows no real lesion."))
    if serving.weights == "none":
        noticed.append(Warned("no_imagenet_weights", "The model was trained from random weights, without ImageNet's."))
    return noticed
