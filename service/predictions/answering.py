"""From the bytes of one upload to an answer that is recorded; `/predict` and batches share it."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from anyio import to_thread
from starlette.types import Receive

from dermatriage_client.schemas import Prediction
from models_store.contract.catalog import DISCLAIMER
from models_store.datasets.labels import CLASS_NAMES, MALIGNANT
from models_store.tables import new_id
from models_store.wording import DIAGNOSES
from service.dependencies import Service
from service.errors import Problem
from service.predictions.admission import overloaded
from service.predictions.engine.images import Caution, ImageRefused, ImageUnknown
from service.predictions.engine.judging import Allow, Judged, Sent, read
from service.predictions.engine.predictor import Serving
from service.predictions.engine.queues import QueueFull
from service.predictions.engine.recorder import RecordedPrediction
from service.web import metrics

ACCEPTED = "PNG, JPEG, WebP, BMP or TIFF"

SYNTHETIC_MODEL = Caution("synthetic_model", "The model was trained on generated images, not on real lesions.")
NO_IMAGENET_WEIGHTS = Caution("no_imagenet_weights", "The model was trained from random weights, without ImageNet's.")
JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))

# Most answers take less time. After it, the server checks whether the client has gone.
DISCONNECT_CHECK_SECONDS = 0.05


async def champion(services: Service) -> Serving:
    """The model that answers. If none is loaded, refreshes once before it raises `Problem`."""
    if services.predictor.serving is None:
        await to_thread.run_sync(services.predictor.refresh)
    if services.predictor.serving is None:
        refusal = services.predictor.refusal
        raise Problem(
            "no-champion",
            "no model has been promoted" if refusal is None else f"{refusal.version} was refused: {refusal.reason}",
        )
    return services.predictor.serving


async def answer(
    services: Service,
    serving: Serving,
    sent: Sent,
    key_id: str | None,
    *,
    allow: Allow | None = None,
    explain: bool = False,
) -> Prediction:
    """Classifies and records one upload. Raises `Problem` for an image that cannot be classified."""
    judged, fields = await _classify(services, serving, sent, key_id, allow)
    prediction = Prediction.model_validate(fields)
    if explain:
        prediction.explanation = await services.judge.explain(judged)
    return prediction


async def answer_in_json(services: Service, serving: Serving, sent: bytes, key_id: str | None) -> bytes:
    """What `answer` returns, as JSON, without a pydantic model in between."""
    _, fields = await _classify(services, serving, sent, key_id)
    return JSON.encode(fields).encode()


async def _classify(
    services: Service, serving: Serving, sent: Sent, key_id: str | None, allow: Allow | None = None
) -> tuple[Judged, dict[str, Any]]:
    """Classifies and records one upload; returns the image as judged, and the fields of its `Prediction`."""
    size = len(sent) if isinstance(sent, bytes) else sent.seek(0, os.SEEK_END)
    if size > services.settings.max_upload_bytes:
        detail = f"the file has {size:,} bytes, more than {services.settings.max_upload_bytes:,}"
        raise Problem("content-too-large", detail)
    judged = await _judged(services, serving, sent, allow)
    label = "malignant" if judged.probability >= serving.threshold else "benign"
    warnings = [*_model_warnings(serving), *_distribution_warnings(judged.unlikeness), *judged.prepared.warnings]
    metrics.predictions(label, serving.version).inc()
    for warned in warnings:
        metrics.warnings(warned.code).inc()
    is_kept = services.settings.store_images and not judged.prepared.may_name_patient
    answered = RecordedPrediction(
        id=new_id("prd"),
        model_version=serving.version,
        dataset=serving.dataset,
        threshold=serving.threshold,
        probability=judged.probability,
        label=label,
        image_sha256=judged.sha256,
        warnings=tuple(warned.code for warned in warnings),
        key_id=key_id,
        created_at=datetime.now(UTC),
        image=await _content(sent) if is_kept else None,
    )
    services.recorder.add(answered)
    return judged, {
        "prediction_id": answered.id,
        "label": label,
        "probability_malignant": judged.probability,
        "threshold": serving.threshold,
        "model_version": serving.version,
        "dataset": serving.dataset,
        "guarantee": serving.guarantee,
        "diagnoses": None if judged.diagnoses is None else _diagnoses(judged.diagnoses),
        "unlikeness": None if judged.unlikeness is None else round(judged.unlikeness, 3),
        "warnings": [{"code": warned.code, "message": warned.message} for warned in warnings],
        "explanation": None,
        "disclaimer": DISCLAIMER,
    }


async def _content(sent: Sent) -> bytes:
    return sent if isinstance(sent, bytes) else await to_thread.run_sync(read, sent)


async def _judged(services: Service, serving: Serving, sent: Sent, allow: Allow | None) -> Judged:
    try:
        return await services.judge(serving, sent, allow)
    except ImageUnknown as unknown:
        raise Problem("image-format-unknown", str(unknown)) from unknown
    except ImageRefused as refused:
        raise Problem("image-refused", str(refused)) from refused
    except QueueFull as full:
        raise overloaded(str(full)) from full


def _diagnoses(probabilities: list[float]) -> list[dict[str, Any]]:
    return [
        {"diagnosis": short, "name": DIAGNOSES[short], "malignant": short in MALIGNANT, "probability": probability}
        for short, probability in zip(CLASS_NAMES, probabilities, strict=True)
    ]


def _distribution_warnings(unlikeness: float | None) -> list[Caution]:
    if unlikeness is None or unlikeness <= 1:
        return []
    message = (
        f"The image is unlike the training images ({unlikeness:.1f} times the distance within which 99 % of validation "
        "images lie). Do not rely on this answer; send a sharp dermatoscopic image that a single lesion fills."
    )
    return [Caution("unlike_training", message)]


def _model_warnings(serving: Serving) -> list[Caution]:
    found = [SYNTHETIC_MODEL] if serving.synthetic else []
    return [*found, NO_IMAGENET_WEIGHTS] if serving.weights == "none" else found


@asynccontextmanager
async def while_connected(receive: Receive) -> AsyncIterator[None]:
    """Cancels the work inside once the client has gone. The body must have been read.

    It then raises `Problem`, so that the log records 499.
    """
    loop = asyncio.get_running_loop()
    watchers: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(None) as timeout:
            timer = loop.call_later(
                DISCONNECT_CHECK_SECONDS, lambda: watchers.append(loop.create_task(_on_disconnect(receive, timeout)))
            )
            try:
                yield
            finally:
                timer.cancel()
                for task in watchers:
                    task.cancel()
    except TimeoutError:
        if not timeout.expired():
            raise
        raise Problem("client-gone") from None


async def _on_disconnect(receive: Receive, timeout: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    timeout.reschedule(asyncio.get_running_loop().time())
