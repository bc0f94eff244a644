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
TOGETHER = 16  # images of one request that are under way at once, as in a batch
SMALL_BYTES = 64 * 1024  # of a request that is read in a few milliseconds
READERS = CapacityLimiter(2)  # of large requests at once, because JSON takes many times its size in memory
# Name, datatype and value of each output but `diagnoses`.
OUTPUTS: tuple[tuple[str, str, Callable[[Prediction], float | str]], ...] = (
    ("probability_malignant", "FP64", lambda one: one.probability_malignant),
    ("threshold", "FP64", lambda one: one.threshold),
    ("label", "BYTES", lambda one: one.label),
    ("warnings", "BYTES", lambda one: ",".join(found.code for found in one.warnings)),
    ("prediction_id", "BYTES", lambda one: one.prediction_id),
)
ABOUT_IMAGE = ("image-format-unknown", "image-refused")  # problems whose remedy speaks of an upload
REMEDY = f"Send pixels of the model's size as UINT8, or the bytes of {ACCEPTED} files as BYTES."


async def asked_model(services: Services, request: Request) -> Serving:
    """The champion, where the address names it. Raises `Problem`."""
    name, asked = request.path_params["name"], request.path_params.get("version")
    if name != MODEL:
        raise Problem("model-not-found", f"there is no model {name!r}", f"This server serves {MODEL!r}.")
    serving = await champion(services)
    if asked not in (None, serving.version):
        remedy = f"Ask for {serving.version}, or POST /v1/models/{{version}}/promote another one."
        raise Problem("model-not-found", f"the version {asked!r} does not answer: it is not the champion", remedy)
    return serving


AskedModel = Annotated[Serving, Depends(asked_model)]


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
async def read_model(serving: AskedModel) -> dict[str, Any]:
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
async def read_model_ready(_serving: AskedModel) -> dict[str, Any]:
    return {"name": MODEL, "ready": True}


@router.post("/v2/models/{name}/infer")
@router.post("/v2/models/{name}/versions/{version}/infer")
async def infer(services: Services, serving: AskedModel, request: Request) -> Response:
    """Judges the images of one tensor. Each is recorded; the first that is refused refuses the request."""
    try:
        asked, images = await _read(services, serving, request)
        async with while_connected(request.receive):
            predictions = await _judge_all(services, serving, images, request.scope.get(KEY_ID))
    except Malformed as malformed:
        raise Problem("bad-request", str(malformed), REMEDY) from malformed
    return _written(asked, serving, predictions)


def _output_metadata(serving: Serving) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype, _ in OUTPUTS]
    if serving.scorer.has_diagnoses:
        shown.append({"name": "diagnoses", "datatype": "FP64", "shape": [-1, len(CLASS_NAMES)]})
    return shown


async def _read(services: Service, serving: Serving, request: Request) -> tuple[InferenceRequest, list[bytes]]:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Malformed("the body is compressed; send it as it is")
    body, given = await request.body(), request.headers.get(HEADER)
    if given is not None and not (given.isascii() and given.isdigit() and len(given) < 12):
        raise Malformed(f"{HEADER} is not a number of bytes")
    json_bytes = None if given is None else int(given)
    size, most = serving.scorer.input_size, services.settings.max_batch_images
    if len(body) <= SMALL_BYTES:
        asked, images = _images(body, json_bytes, size, most)
    else:
        asked, images = await to_thread.run_sync(_images, body, json_bytes, size, most, limiter=READERS)
    _refuse_unknown_outputs(asked, [output["name"] for output in _output_metadata(serving)])
    return asked, images


def _refuse_unknown_outputs(asked: InferenceRequest, known: list[str]) -> None:
    for output in asked.outputs or ():
        if output.name not in known:
            raise Malformed(f"there is no output {output.name!r}; there are {', '.join(known)}")
        if "classification" in output.parameters:
            raise Malformed("the extension for classification is not supported; ask for the output label")


def _images(body: bytes, json_bytes: int | None, size: int, most: int) -> tuple[InferenceRequest, list[bytes]]:
    """The request, and each image as a file."""
    asked, data = read(body, json_bytes)
    (tensor,) = asked.inputs
    if tensor.name != INPUT:
        raise Malformed(f"there is no input {tensor.name!r}; the only one is {INPUT!r}")
    if tensor.shape[0] > most:
        raise Malformed(f"only {most:,} images are judged in one request, and {tensor.shape[0]:,} were sent")
    if tensor.datatype == "UINT8":
        return asked, [_as_file(Image.fromarray(image)) for image in pixels(tensor, data, size)]
    if tensor.datatype == "BYTES":
        return asked, files(tensor, data, most)
    raise Malformed(f"{tensor.name} has the datatype {tensor.datatype!r}; it may be UINT8 or BYTES")


def _as_file(image: Image.Image) -> bytes:
    """A bitmap, so that pixels take the way of every upload; writing and reading it takes 50 microseconds."""
    file = io.BytesIO()
    image.save(file, "BMP")
    return file.getvalue()


async def _judge_all(services: Service, serving: Serving, images: list[bytes], key_id: str | None) -> list[Prediction]:
    """Raises the `Problem` of the first image that is refused."""
    settings = services.settings
    limits = Limits(settings.max_batch_images, settings.max_upload_bytes, settings.max_upload_bytes, DECODED_BYTES)
    # An image that comes alone is refused where too many wait; many wait for each other.
    allow = Allowance(limits).decode if len(images) > 1 else None
    predictions: list[Prediction] = []
    for start in range(0, len(images), TOGETHER):
        under_way = (
            answer(services, serving, image, key_id, allow=allow) for image in images[start : start + TOGETHER]
        )
        for number, outcome in enumerate(await asyncio.gather(*under_way, return_exceptions=True), start):
            if isinstance(outcome, Problem):
                remedy = REMEDY if outcome.kind in ABOUT_IMAGE else outcome.remedy
                raise Problem(outcome.kind, f"image {number}: {outcome.detail}", remedy, headers=outcome.headers)
            if isinstance(outcome, BaseException):
                raise outcome
            predictions.append(outcome)
    return predictions


def _written(asked: InferenceRequest, serving: Serving, predictions: list[Prediction]) -> Response:
    tensors = {tensor.name: tensor for tensor in _outputs(predictions)}
    requested = asked.outputs or [RequestedOutput(name=name) for name in tensors]
    about: dict[str, Any] = {"model_name": MODEL, "model_version": serving.version}
    about["parameters"] = {"disclaimer": DISCLAIMER}
    if asked.id is not None:
        about["id"] = asked.id
    body, json_bytes = write(about, [(tensors[output.name], asked.is_binary(output)) for output in requested])
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
