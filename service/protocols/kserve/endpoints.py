"""The addresses below `/v2`: health, metadata, and inference with the champion."""

import asyncio
import io
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request, Response
from PIL import Image

from dermatriage_client.schemas import Prediction
from models_store.contract.catalog import DISCLAIMER
from models_store.datasets.labels import CLASS_NAMES
from service.access.gate import KEY_ID
from service.dependencies import Service, Services
from service.errors import Problem
from service.predictions.answering import ACCEPTED, answer, champion, while_connected
from service.predictions.engine.archives import DECODED_BYTES, Allowance, Limits
from service.predictions.engine.predictor import Serving
from service.protocols.kserve.tensors import (
    HEADER,
    InferenceRequest,
    Malformed,
    OutputTensor,
    RequestedOutput,
    files,
    pixels,
    read,
    write,
)
from service.system.health import read_readiness

router = APIRouter(include_in_schema=False)

MODEL = "dermatriage"
INPUT = "image"
CONCURRENT_IMAGES = 16  # images of one request that are processed at once, as in a batch
SMALL_BYTES = 64 * 1024  # of a request that is read in a few milliseconds
READERS = CapacityLimiter(2)  # for large requests, because JSON takes many times its size in memory
# Name, datatype and value of each output but `diagnoses`.
OUTPUTS: tuple[tuple[str, str, Callable[[Prediction], float | str]], ...] = (
    ("probability_malignant", "FP64", lambda one: one.probability_malignant),
    ("threshold", "FP64", lambda one: one.threshold),
    ("label", "BYTES", lambda one: one.label),
    ("warnings", "BYTES", lambda one: ",".join(found.code for found in one.warnings)),
    ("prediction_id", "BYTES", lambda one: one.prediction_id),
)
IMAGE_PROBLEMS = ("image-format-unknown", "image-refused")  # problems whose remedy is about an upload
REMEDY = f"Send pixels of the model's size as UINT8, or the bytes of {ACCEPTED} files as BYTES."


async def requested_model(services: Services, request: Request) -> Serving:
    """The champion, if the address names it. Raises `Problem`."""
    name, requested = request.path_params["name"], request.path_params.get("version")
    if name != MODEL:
        raise Problem("model-not-found", f"there is no model {name!r}", f"This server serves {MODEL!r}.")
    serving = await champion(services)
    if requested not in (None, serving.version):
        remedy = f"Ask for {serving.version}, or POST /v1/models/{{version}}/promote another one."
        raise Problem("model-not-found", f"the version {requested!r} is not the champion", remedy)
    return serving


RequestedModel = Annotated[Serving, Depends(requested_model)]


@router.get("/v2")
async def read_server() -> dict[str, Any]:
    return {"name": MODEL, "version": version("dermatriage"), "extensions": ["binary_tensor_data"]}


@router.get("/v2/health/live")
async def read_live() -> dict[str, bool]:
    return {"live": True}


@router.get("/v2/health/ready")
def read_ready(services: Services) -> dict[str, bool]:
    read_readiness(services)
    return {"ready": True}


@router.get("/v2/models/{name}")
@router.get("/v2/models/{name}/versions/{version}")
async def read_model(serving: RequestedModel) -> dict[str, Any]:
    size = serving.scorer.input_size
    return {
        "name": MODEL,
        "versions": [serving.version],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": INPUT, "datatype": "UINT8", "shape": [-1, size, size, 3]}],
        "outputs": _output_metadata(serving),
    }


@router.get("/v2/models/{name}/ready")
@router.get("/v2/models/{name}/versions/{version}/ready")
async def read_model_ready(_serving: RequestedModel) -> dict[str, Any]:
    return {"name": MODEL, "ready": True}


@router.post("/v2/models/{name}/infer")
@router.post("/v2/models/{name}/versions/{version}/infer")
async def infer(services: Services, serving: RequestedModel, request: Request) -> Response:
    """Judges the images of one tensor. Each is recorded; if one is refused, so is the request."""
    try:
        inference, images = await _read(services, serving, request)
        async with while_connected(request.receive):
            predictions = await _judge_all(services, serving, images, request.scope.get(KEY_ID))
    except Malformed as malformed:
        raise Problem("bad-request", str(malformed), REMEDY) from malformed
    return _response(inference, serving, predictions)


def _output_metadata(serving: Serving) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype, _ in OUTPUTS]
    if serving.scorer.has_diagnoses:
        shown.append({"name": "diagnoses", "datatype": "FP64", "shape": [-1, len(CLASS_NAMES)]})
    return shown


async def _read(services: Service, serving: Serving, request: Request) -> tuple[InferenceRequest, list[bytes]]:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Malformed("the body is compressed; send it as it is")
    body, header = await request.body(), request.headers.get(HEADER)
    if header is not None and not (header.isascii() and header.isdigit() and len(header) < 12):
        raise Malformed(f"{HEADER} is not a number of bytes")
    json_bytes = None if header is None else int(header)
    size, most = serving.scorer.input_size, services.settings.max_batch_images
    if len(body) <= SMALL_BYTES:
        inference, images = _images(body, json_bytes, size, most)
    else:
        inference, images = await to_thread.run_sync(_images, body, json_bytes, size, most, limiter=READERS)
    _refuse_unknown_outputs(inference, [output["name"] for output in _output_metadata(serving)])
    return inference, images


def _refuse_unknown_outputs(inference: InferenceRequest, known: list[str]) -> None:
    for output in inference.outputs or ():
        if output.name not in known:
            raise Malformed(f"there is no output {output.name!r}; there are {', '.join(known)}")
        if "classification" in output.parameters:
            raise Malformed("the extension for classification is not supported; ask for the output label")


def _images(body: bytes, json_bytes: int | None, size: int, most: int) -> tuple[InferenceRequest, list[bytes]]:
    """The request, and each image as a file."""
    inference, data = read(body, json_bytes)
    (tensor,) = inference.inputs
    if tensor.name != INPUT:
        raise Malformed(f"there is no input {tensor.name!r}; the only one is {INPUT!r}")
    if tensor.shape[0] > most:
        raise Malformed(f"only {most:,} images are judged in one request, and {tensor.shape[0]:,} were sent")
    if tensor.datatype == "UINT8":
        return inference, [_as_file(Image.fromarray(image)) for image in pixels(tensor, data, size)]
    if tensor.datatype == "BYTES":
        return inference, files(tensor, data, most)
    raise Malformed(f"{tensor.name} has the datatype {tensor.datatype!r}; it may be UINT8 or BYTES")


def _as_file(image: Image.Image) -> bytes:
    """A bitmap, so that pixels are processed like every upload; writing and reading it takes 50 microseconds."""
    file = io.BytesIO()
    image.save(file, "BMP")
    return file.getvalue()


async def _judge_all(services: Service, serving: Serving, images: list[bytes], key_id: str | None) -> list[Prediction]:
    """Raises the `Problem` of the first image that is refused."""
    settings = services.settings
    limits = Limits(settings.max_batch_images, settings.max_upload_bytes, settings.max_upload_bytes, DECODED_BYTES)
    # A single image is refused if the queue is full; the images of a larger request wait.
    allow = Allowance(limits).decode if len(images) > 1 else None
    predictions: list[Prediction] = []
    for start in range(0, len(images), CONCURRENT_IMAGES):
        under_way = (
            answer(services, serving, image, key_id, allow=allow) for image in images[start : start + CONCURRENT_IMAGES]
        )
        for number, outcome in enumerate(await asyncio.gather(*under_way, return_exceptions=True), start):
            if isinstance(outcome, Problem):
                remedy = REMEDY if outcome.kind in IMAGE_PROBLEMS else outcome.remedy
                raise Problem(outcome.kind, f"image {number}: {outcome.detail}", remedy, headers=outcome.headers)
            if isinstance(outcome, BaseException):
                raise outcome
            predictions.append(outcome)
    return predictions


def _response(inference: InferenceRequest, serving: Serving, predictions: list[Prediction]) -> Response:
    tensors = {tensor.name: tensor for tensor in _outputs(predictions)}
    requested = inference.outputs or [RequestedOutput(name=name) for name in tensors]
    about: dict[str, Any] = {"model_name": MODEL, "model_version": serving.version}
    about["parameters"] = {"disclaimer": DISCLAIMER}
    if inference.id is not None:
        about["id"] = inference.id
    body, json_bytes = write(about, [(tensors[output.name], inference.is_binary(output)) for output in requested])
    if json_bytes is None:
        return Response(body, media_type="application/json")
    return Response(body, media_type="application/octet-stream", headers={HEADER: str(json_bytes)})


def _outputs(predictions: list[Prediction]) -> list[OutputTensor]:
    number = len(predictions)
    outputs = [
        OutputTensor(name, [number], datatype, list(map(value, predictions))) for name, datatype, value in OUTPUTS
    ]
    diagnoses = [one.probability for each in predictions for one in each.diagnoses or ()]
    if diagnoses:
        names = {"names": ",".join(CLASS_NAMES)}
        outputs.append(OutputTensor("diagnoses", [number, len(CLASS_NAMES)], "FP64", diagnoses, names))
    return outputs
