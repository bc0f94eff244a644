"""From uploaded bytes to a probability: decoded, then classified in batches."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO

import numpy as np

from dermatriage_client.schemas import Explanation
from service.predictions.engine import heatmap
from service.predictions.engine.images import (
    DECODING_BYTES,
    Prepared,
    TooManyPixels,
    is_dicom,
    prepare,
)
from service.predictions.engine.predictor import Serving
from service.predictions.engine.queues import Batcher, Memory, QueueFull, Threads
from service.web import metrics

# Decoding an image of at most this size takes less than half a millisecond: it stays on the event loop, because handing
# it to another thread takes as long. Larger ones are decoded in a thread.
SMALL_BYTES = 64 * 1024
SMALL_PIXELS = 128 * 128
SMALL_DECODING_BYTES = 2**20
# A run of the network that takes less time stays on the event loop as well: 16 images with CNN_v1 do.
SHORT_RUN_SECONDS = 0.005
# The threads share `DECODING_BYTES` of memory: an image that needs more than is free waits.
DECODERS = 2
QUEUE_RETRY_SECONDS = 0.05

# An upload in memory, or one that is read only when it is decoded.
Sent = bytes | IO[bytes]
Allow = Callable[[int], None]


@dataclass(frozen=True)
class Decoded:
    """An image, and the SHA-256 of the file it came in."""

    prepared: Prepared
    sha256: str


@dataclass(frozen=True)
class Waiting:
    """An image in the queue, and the model that judges it."""

    serving: Serving
    decoded: Decoded


@dataclass(frozen=True)
class Judged:
    """The result of one model for one image: one item of each field of `Scores`."""

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
        self._batcher: Batcher[Waiting, Judged] = Batcher(
            judge_batch,
            most_together=most_together,
            most_waiting=most_waiting,
            is_short=_is_short,
            on_run=self._observe,
        )
        self._decoders, self._memory = Threads(DECODERS, "decode"), Memory(DECODING_BYTES)
        self._explainers = Threads(1, "explain")

    async def __call__(self, serving: Serving, sent: Sent, allow: Allow | None = None) -> Judged:
        """With `allow`, an image waits while the queue is full, and `allow(bytes)` raises to refuse its decoding."""
        decoded = self._decode_small(serving, sent)
        if decoded is None:
            decoded = await self._decoders.run(self._decode, serving, sent, allow)
        while True:
            try:
                return await self._batcher.submit(Waiting(serving, decoded))
            except QueueFull:
                if allow is None:
                    raise
            await asyncio.sleep(QUEUE_RETRY_SECONDS)

    async def explain(self, judged: Judged) -> Explanation:
        return await self._explainers.run(heatmap.explain, judged.serving.scorer, judged.prepared.pixels)

    def close(self) -> None:
        self._batcher.close()
        self._decoders.close()
        self._explainers.close()

    def _decode_small(self, serving: Serving, sent: Sent) -> Decoded | None:
        """None if that takes too long for the event loop."""
        if not isinstance(sent, bytes) or len(sent) > SMALL_BYTES or is_dicom(sent):
            return None
        most = min(SMALL_PIXELS, self._max_pixels)
        try:
            prepared = prepare(sent, serving.scorer.input_size, most, SMALL_DECODING_BYTES)
        except TooManyPixels:
            return None
        return Decoded(prepared, hashlib.sha256(sent).hexdigest())

    def _decode(self, serving: Serving, sent: Sent, allow: Allow | None) -> Decoded:
        def reserve(needed: int) -> AbstractContextManager[None]:
            if allow is not None:
                allow(needed)
            return self._memory.reserved(needed)

        content = sent if isinstance(sent, bytes) else read(sent)
        prepared = prepare(content, serving.scorer.input_size, self._max_pixels, DECODING_BYTES, reserve)
        return Decoded(prepared, hashlib.sha256(content).hexdigest())

    def _observe(self, together: int) -> None:
        metrics.BATCH_SIZE.observe(together)
        metrics.QUEUE_DEPTH.set(self._batcher.waiting)


def read(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def judge_batch(images: Sequence[Waiting]) -> list[Judged]:
    """One run of the network for each model among `images`: two during a change of the champion."""
    judged: dict[int, Judged] = {}
    for serving in {id(image.serving): image.serving for image in images}.values():
        chosen = [(place, image.decoded) for place, image in enumerate(images) if image.serving is serving]
        scores = serving.scorer.judge(np.stack([decoded.prepared.pixels for _, decoded in chosen]))
        for number, (place, decoded) in enumerate(chosen):
            judged[place] = Judged(
                serving=serving,
                probability=float(scores.probabilities[number]),
                unlikeness=None if scores.unlikeness is None else float(scores.unlikeness[number]),
                diagnoses=None if scores.diagnoses is None else scores.diagnoses[number].tolist(),
                prepared=decoded.prepared,
                sha256=decoded.sha256,
            )
    return [judged[place] for place in range(len(images))]


def _is_short(images: Sequence[Waiting]) -> bool:
    return sum(image.serving.run_seconds for image in images) <= SHORT_RUN_SECONDS
