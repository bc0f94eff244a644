"""From uploaded bytes to a probability: decoded off the event loop, judged in batches."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from anyio import CapacityLimiter, to_thread

from service import metrics
from service.predictions.batching import Batcher
from service.predictions.images import ImageRefused, ImageUnknown, Prepared, TooManyPixels, prepare
from service.predictions.predictor import Serving

# Decoding an upload of this size takes well under a millisecond, less than the way to another thread and back; such
# images are decoded in the thread that judges them, a batch at a time. Larger ones are decoded beside it.
SMALL_BYTES = 64 * 1024
SMALL_PIXELS = 256 * 256
# Each large decoding may hold a few hundred megabytes: 40 million pixels, their RGB copy and the crop.
DECODERS = 2


@dataclass(frozen=True)
class Upload:
    """An image to judge with `serving`; `prepared` where it was decoded beforehand."""

    serving: Serving
    content: bytes
    prepared: Prepared | None = None


@dataclass(frozen=True)
class Judged:
    """What one model says of one image. `unlikeness` above 1 is unlike the training images, None is not known."""

    serving: Serving
    probability: float
    unlikeness: float | None
    prepared: Prepared


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
        self._decoding = CapacityLimiter(DECODERS)

    async def __call__(self, serving: Serving, content: bytes) -> Judged:
        if len(content) <= SMALL_BYTES:
            try:
                return await self._batcher.submit(Upload(serving, content))
            except TooManyPixels:
                if self._max_pixels <= SMALL_PIXELS:
                    raise
        return await self._batcher.submit(Upload(serving, content, await self.decoded(serving, content)))

    async def decoded(self, serving: Serving, content: bytes) -> Prepared:
        work = partial(prepare, content, serving.scorer.input_size, self._max_pixels)
        return await to_thread.run_sync(work, limiter=self._decoding)

    def close(self) -> None:
        self._batcher.close()

    def _observe(self, together: int) -> None:
        metrics.BATCH_SIZE.observe(together)
        metrics.QUEUE_DEPTH.set(self._batcher.waiting)


def judge_together(uploads: Sequence[Upload], *, max_pixels: int) -> list[Judged | Exception]:
    """One run of the network for each model among `uploads`: two while one model succeeds another."""
    prepared = [_prepared(upload, max_pixels) for upload in uploads]
    results: list[Judged | Exception | None] = [one if isinstance(one, Exception) else None for one in prepared]
    for serving in {id(upload.serving): upload.serving for upload in uploads}.values():
        chosen = [
            (place, image)
            for place, (upload, image) in enumerate(zip(uploads, prepared, strict=True))
            if upload.serving is serving and isinstance(image, Prepared)
        ]
        if not chosen:
            continue
        probabilities, unlikeness = serving.scorer.judge(np.stack([image.pixels for _, image in chosen]))
        for number, (place, image) in enumerate(chosen):
            unlike = None if unlikeness is None else float(unlikeness[number])
            results[place] = Judged(serving, float(probabilities[number]), unlike, image)
    return [result for result in results if result is not None]


def _prepared(upload: Upload, max_pixels: int) -> Prepared | Exception:
    if upload.prepared is not None:
        return upload.prepared
    try:
        return prepare(upload.content, upload.serving.scorer.input_size, max_pixels)
    except (ImageUnknown, ImageRefused) as refused:
        return refused
