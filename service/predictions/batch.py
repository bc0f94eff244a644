"""`POST /v1/predict/batch`: many images or zips in, one line of JSON out for each, in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import StreamingResponse

from service.deps import Service, Services
from service.errors import Problem
from service.openapi import problems
from service.predictions.answering import ACCEPTED, answer, champion
from service.predictions.archives import EXPANSION, ArchiveRefused, Limits, Member, is_zip, members, printable
from service.predictions.predictor import Serving
from service.predictions.schemas import BatchLine
from service.security import KEY_ID

router = APIRouter(tags=["predictions"])

TOGETHER = 16  # images of one batch that are under way at once; the rest of the queue is for others
PATIENCE_SECONDS = 0.05
MEDIA_TYPE = "application/x-ndjson"
EXAMPLE = '{"index":0,"file":"a.png","prediction":{…}}\n{"index":1,"file":"b.png","problem":{…}}\n'
UPLOAD: dict[str, Any] = {
    "requestBody": {"content": {"multipart/form-data": {"example": {"files": ["(the bytes of lesions.zip)"]}}}}
}


class Lines(StreamingResponse):
    media_type = MEDIA_TYPE


@router.post(
    "/v1/predict/batch",
    response_class=Lines,
    responses={
        200: {
            "description": "A JSON object a line, each a `BatchLine`; as many lines as images.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": EXAMPLE}},
        },
        **problems(400, 413, 422, 503),
    },
    openapi_extra=UPLOAD,
)
async def predict_batch(
    services: Services,
    request: Request,
    files: Annotated[list[UploadFile], File(description=f"Images ({ACCEPTED}), or zip archives of images.")],
) -> Lines:
    """Judges many images with one model, the champion when the request came.

    An image that cannot be judged has a `problem` on its line and spoils nothing else. Directories in a zip are left
    out; a zip inside a zip is not an image.
    """
    serving = await champion(services)
    limits = Limits(
        services.settings.max_batch_images,
        services.settings.max_upload_bytes,
        EXPANSION * services.settings.max_batch_bytes,
    )
    try:
        chosen = [await to_thread.run_sync(_opened, file, limits) for file in files]
    except ArchiveRefused as refused:
        raise _refused(str(refused)) from refused
    key_id = request.scope.get(KEY_ID)
    return Lines(_lines(services, serving, _counted(chosen, limits.images), key_id))


def _opened(file: UploadFile, limits: Limits) -> Iterator[Member]:
    if is_zip(file.file):
        return members(file.file, limits)
    return _single(file, limits)


def _single(file: UploadFile, limits: Limits) -> Iterator[Member]:
    yield Member(printable(file.filename), file.file.read(limits.image_bytes + 1))


def _counted(parts: list[Iterator[Member]], most: int) -> Iterator[Member]:
    number = 0
    for part in parts:
        for member in part:
            number += 1
            if number > most:
                yield Member(member.name, b"", f"only {most:,} images are judged in one request")
                return
            yield member


async def _lines(
    services: Service, serving: Serving, images: Iterator[Member], key_id: str | None
) -> AsyncIterator[bytes]:
    """Keeps some images under way and tells each in its turn."""
    under_way: deque[asyncio.Task[BatchLine]] = deque()
    try:
        index = 0
        while (member := await to_thread.run_sync(next, images, None)) is not None:
            under_way.append(asyncio.create_task(_line(services, serving, index, member, key_id)))
            index += 1
            if len(under_way) >= TOGETHER:
                yield _told(await under_way.popleft())
        while under_way:
            yield _told(await under_way.popleft())
    finally:
        for task in under_way:
            task.cancel()


async def _line(services: Service, serving: Serving, index: int, member: Member, key_id: str | None) -> BatchLine:
    try:
        if member.refusal is not None:
            raise _refused(member.refusal)
        prediction = await _patiently(services, serving, member.content, key_id)
        return BatchLine(index=index, file=member.name, prediction=prediction)
    except Problem as problem:
        found = {"kind": problem.kind, "title": problem.title, "detail": problem.detail, "remedy": problem.remedy}
        return BatchLine(index=index, file=member.name, problem={"status": problem.status, **found})


async def _patiently(services: Service, serving: Serving, content: bytes, key_id: str | None) -> Any:
    """A full queue makes a batch wait, not fail."""
    while True:
        try:
            return await answer(services, serving, content, key_id)
        except Problem as problem:
            if problem.kind != "overloaded":
                raise
        await asyncio.sleep(PATIENCE_SECONDS)


def _told(line: BatchLine) -> bytes:
    return line.model_dump_json(exclude_none=True).encode() + b"\n"


def _refused(detail: str) -> Problem:
    remedy = f"Send {ACCEPTED} images, or a plain zip of them."
    return Problem(422, "image-refused", "The image is refused", detail, remedy)
