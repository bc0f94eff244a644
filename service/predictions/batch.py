"""`POST /v1/predict/batch`: many images or zips in, one line of JSON out for each, in order."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, File, Request, UploadFile
from fastapi.responses import StreamingResponse

from dermatriage_client.schemas import BatchLine
from service.access.gate import KEY_ID
from service.dependencies import Service, Services
from service.errors import Problem
from service.predictions.answering import ACCEPTED, answer, champion
from service.predictions.engine.archives import (
    DECODED_BYTES,
    EXPANSION,
    Allowance,
    ArchiveRefused,
    Limits,
    Member,
    MemberRefused,
    is_zip,
    members,
    printable,
)
from service.predictions.engine.predictor import Serving
from service.web.api_docs import problems

router = APIRouter(tags=["predictions"])

CONCURRENT_IMAGES = 16  # images of one batch that are processed at once; the rest of the queue is for other clients
MAX_BYTES = 20 * 2**20  # of images that are read and not judged yet, over all batches of a web process
MAX_FILES = 256  # in a form, because each is an open file; a zip counts as one
MEDIA_TYPE = "application/x-ndjson"
EXAMPLE = '{"index":0,"file":"a.png","prediction":{…}}\n{"index":1,"file":"b.png","problem":{…}}\n'
UPLOAD: dict[str, Any] = {
    "requestBody": {"content": {"multipart/form-data": {"example": {"files": ["(the bytes of lesions.zip)"]}}}}
}


@dataclass(frozen=True)
class BatchRequest:
    """One request: the model and the key that it uses, and what it may cost."""

    services: Service
    serving: Serving
    key_id: str | None
    allowance: Allowance


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
        **problems("content-too-large", "invalid-request", "image-refused", "no-champion", "overloaded"),
    },
    openapi_extra=UPLOAD,
    form_limits={"max_files": MAX_FILES, "max_fields": 8, "max_part_size": 4096},
)
async def predict_batch(
    services: Services,
    request: Request,
    files: Annotated[list[UploadFile], File(description=f"Images ({ACCEPTED}), or zip archives of images.")],
) -> Lines:
    """Judges many images with one model, the champion at the time of the request.

    An image that cannot be judged has a `problem` on its line and does not affect the others. Directories in a zip are
    left out; a zip inside a zip is not an image, and a zip whose members overlap is refused. Limits hold over all files
    and zips of a request together: 1,000 images (256 outside of zips), 100 MiB sent, four times as much unpacked, and 4
    GiB of memory to decode, which is 85 photographs of 12 million pixels.
    """
    serving = await champion(services)
    allowance = Allowance(
        Limits(
            images=services.settings.max_batch_images,
            image_bytes=services.settings.max_upload_bytes,
            all_bytes=EXPANSION * services.settings.max_batch_bytes,
            decoded_bytes=DECODED_BYTES,
        )
    )
    try:
        chosen = [await to_thread.run_sync(_members, file, allowance) for file in files]
    except ArchiveRefused as refused:
        raise _refused(str(refused)) from refused
    batch = BatchRequest(services, serving, request.scope.get(KEY_ID), allowance)
    return Lines(_lines(batch, _limited(chosen, allowance.limits.images)))


def _members(file: UploadFile, allowance: Allowance) -> Iterator[Member]:
    if is_zip(file.file):
        return members(file.file, allowance)
    most = allowance.limits.image_bytes + 1
    size = min(file.size or 0, most)
    return iter([Member(printable(file.filename), size, lambda: file.file.read(most))])


def _limited(parts: list[Iterator[Member]], most: int) -> Iterator[Member]:
    for number, member in enumerate(chain.from_iterable(parts), start=1):
        if number > most:
            yield Member(member.name, 0, partial(_refuse_reading, f"only {most:,} images are judged in one request"))
            return
        yield member


def _refuse_reading(why: str) -> bytes:
    raise MemberRefused(why)


async def _lines(batch: BatchRequest, images: Iterator[Member]) -> AsyncIterator[bytes]:
    """Processes several images at once and yields their lines in order."""
    under_way: deque[asyncio.Task[BatchLine]] = deque()
    try:
        for index, member in enumerate(images):
            under_way.append(await _start(batch, index, member))
            if len(under_way) >= CONCURRENT_IMAGES:
                yield _encoded(await under_way.popleft())
        while under_way:
            yield _encoded(await under_way.popleft())
    finally:
        for task in under_way:
            task.cancel()


async def _start(batch: BatchRequest, index: int, member: Member) -> asyncio.Task[BatchLine]:
    """Waits until memory is free for the image, which occupies it until its line is ready."""
    memory, size = batch.services.batch_memory, min(member.size, MAX_BYTES)
    await memory.acquire(size)
    try:
        content = await to_thread.run_sync(_read, member)
    except BaseException:
        memory.release(size)
        raise
    line = asyncio.create_task(_line(batch, index, member.name, content))
    line.add_done_callback(lambda _: memory.release(size))
    return line


def _read(member: Member) -> bytes | MemberRefused:
    try:
        return member.read()
    except MemberRefused as refused:
        return refused


async def _line(batch: BatchRequest, index: int, name: str, content: bytes | MemberRefused) -> BatchLine:
    try:
        if isinstance(content, MemberRefused):
            raise _refused(str(content))
        allow = batch.allowance.decode
        prediction = await answer(batch.services, batch.serving, content, batch.key_id, allow=allow)
        return BatchLine(index=index, file=name, prediction=prediction)
    except Problem as problem:
        found = {"kind": problem.kind, "title": problem.title, "detail": problem.detail, "remedy": problem.remedy}
        return BatchLine(index=index, file=name, problem={"status": problem.status, **found})


def _encoded(line: BatchLine) -> bytes:
    # ASCII only: JSON allows U+2028 in a string, and many clients end a line there.
    return line.model_dump_json(exclude_none=True, ensure_ascii=True).encode() + b"\n"


def _refused(detail: str) -> Problem:
    remedy = f"Send {ACCEPTED} images, or a plain zip of them."
    return Problem("image-refused", detail, remedy)
