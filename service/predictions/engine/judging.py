"""From uploaded bytes to a probability: decoded off the event loop, classified in batches."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import IO

import numpy as np

from dermatriage_client.schemas import Explanation
from service.predictions.engine import heatmap
from service.predictions.engine.images import (
    DECODING_BYTES,
    ImageRefused,
    ImageUnknown,
    Prepared,
    TooManyPixels,
    is_dicom,
    prepare,
)
from service.predictions.engine.predictor import Serving
from service.predictions.engine.queues import Batcher, Memory, QueueFull, Threads
from service.web import metrics

# Decoding an upload of this size takes well under a millisecond, less than the way to another thread and back; such
# images are decoded in the thread that judges them, a batch at a time. Larger ones are decoded beside it.
SMALL_BYTES = 64 * 1024
SMALL_PIXELS = 256 * 256
SMALL_DECODING_BYTES = 2 * 2**20
# They share `DECODING_BYTES` of memory: an image that needs more than the other has left waits for it.
DECODERS = 2
PATIENCE_SECONDS = 0.05

# An upload in memory, or one that is read only when it is decoded.
Sent = bytes | IO[bytes]
Allow = Callable[[int], None]


@dataclass(frozen=True)
class Decoded:
    """An image, and the SHA-256 of the file it came in."""

    prepared: Prepared
    sha256: str


@dataclass(frozen=True)
class Upload:
    """An image to judge with `serving`: a small file, or what was decoded beforehand."""

    serving: Serving
    image: bytes | Decoded


@dataclass(frozen=True)
class Judged:
    """What one model says of one image, an item of `Scores` each."""

    serving: Serving
    probability: float
    unlikeness: float | None
    diagnoses: list[float] | None
    prepared: Prepared
    sha256: str


class Judge:
    """Judges uploads. Raises `ImageUnknown`, `ImageRefused` or `QueueFull`."""

    def __init__(self, *, max_pixels: int, most_together: int, most_waiting: int) -> None:
        self._max_pixels = max_pixels
        self._batcher: Batcher[Upload, Judged] = Batcher(
            partial(judge_together, max_pixels=min(SMALL_PIXELS, max_pixels)),
            most_together=most_together,
            most_waiting=most_waiting,
            on_run=self._observe,
        )
        self._decoders, self._memory = Threads(DECODERS, "decode"), Memory(DECODING_BYTES)
        self._explainers = Threads(1, "explain")

    async def __call__(self, serving: Serving, sent: Sent, allow: Allow | None = None) -> Judged:
        """An image of a batch waits where the queue is full; `allow(bytes)` may refuse to decode it, by raising."""
        patient = allow is not None
        if isinstance(sent, bytes) and len(sent) <= SMALL_BYTES and not is_dicom(sent):
            try:
                return await self._submitted(Upload(serving, sent), patient)
            except TooManyPixels:  # for the thread that judges
                pass
        decoded = await self._decoders.run(self._decode, serving, sent, allow)
        return await self._submitted(Upload(serving, decoded), patient)

    async def explain(self, judged: Judged) -> Explanation:
        return await self._explainers.run(heatmap.explain, judged.serving.scorer, judged.prepared.pixels)

    def close(self) -> None:
        self._batcher.close()
        self._decoders.close()
        self._explainers.close()

    async def _submitted(self, upload: Upload, patient: bool) -> Judged:
        while True:
            try:
                return await self._batcher.submit(upload)
            except QueueFull:
                if not patient:
                    raise
            await asyncio.sleep(PATIENCE_SECONDS)

    def _decode(self, serving: Serving, sent: Sent, allow: Allow | None) -> Decoded:
        def reserve(needed: int) -> AbstractContextManager[None]:
            if allow is not None:
                allow(needed)
            return self._memory.taken(needed)

        content = sent if isinstance(sent, bytes) else read(sent)
        prepared = prepare(content, serving.scorer.input_size, self._max_pixels, DECODING_BYTES, reserve)
        return Decoded(prepared, hashlib.sha256(content).hexdigest())

    def _observe(self, together: int) -> None:
        metrics.BATCH_SIZE.observe(together)
        metrics.QUEUE_DEPTH.set(self._batcher.waiting)


def read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def judge_together(uploads: Sequence[Upload], *, max_pixels: int) -> list[Judged | Exception]:
    """One run of the network for each model among `uploads`: two while one model succeeds another."""
    decoded = [_decoded(upload, max_pixels) for upload in uploads]
    results: list[Judged | Exception | None] = [one if isinstance(one, Exception) else None for one in decoded]
    for serving in {id(upload.serving): upload.serving for upload in uploads}.values():
        chosen = [
            (place, image)
            for place, (upload, image) in enumerate(zip(uploads, decoded, strict=True))
            if upload.serving is serving and isinstance(image, Decoded)
        ]
        if not chosen:
            continue
        scores = serving.scorer.judge(np.stack([image.prepared.pixels for _, image in chosen]))
        for number, (place, image) in enumerate(chosen):
            results[place] = Judged(
                serving=serving,
                probability=float(scores.probabilities[number]),
                unlikeness=None if scores.unlikeness is None else float(scores.unlikeness[number]),
                diagnoses=None if scores.diagnoses is None else scores.diagnoses[number].tolist(),
                prepared=image.prepared,
                sha256=image.sha256,
            )
    return [result for result in results if result is not None]


def _decoded(upload: Upload, max_pixels: int) -> Decoded | Exception:
    if isinstance(upload.image, Decoded):
        return upload.image
    try:
        prepared = prepare(upload.image, upload.serving.scorer.input_size, max_pixels, SMALL_DECODING_BYTES)
    except (ImageUnknown, ImageRefused) as refused:
        return refused
    return Decoded(prepared, hashlib.sha256(upload.image).hexdigest())
