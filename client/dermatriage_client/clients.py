"""The two clients: `Client` blocks, `AsyncClient` is awaited; same methods, same answers."""

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar

import anyio
import httpx
from httpx_sse import EventSource
from pydantic import BaseModel
from stamina import AsyncRetryingCaller, RetryingCaller

from dermatriage_client import requests, streams
from dermatriage_client.connection import Connection, reading
from dermatriage_client.errors import Refused, ServerUnreachable
from dermatriage_client.requests import Call, File, Image, TaggedModel, get, of
from dermatriage_client.retries import BROKEN
from dermatriage_client.schemas import (
    BatchLine,
    Catalog,
    ComparisonRead,
    DatasetRead,
    Estimate,
    ExperimentComparison,
    ExperimentRead,
    Health,
    History,
    Label,
    ModelRead,
    OutcomeRead,
    Page,
    Prediction,
    PredictionRead,
    PromotionRead,
    PrunedRead,
    Readiness,
    Status,
    TrialRead,
)
from dermatriage_client.streams import Event, Events

Answer = TypeVar("Answer")
Body = TypeVar("Body", bound=BaseModel)
Read = Callable[[httpx.Response], Answer]


class Client(Connection):
    """The API of one server. Every method raises `ServerUnreachable` or `Refused`."""

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(**self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def submit(self, spec: BaseModel | Mapping[str, Any], *, key: str | None = None) -> ExperimentRead:
        """Posts an experiment. The same `key` never submits it twice; without one, a new key is made for this call."""
        return self._call(requests.submission(spec, key), of(ExperimentRead))

    def estimate(self, spec: BaseModel | Mapping[str, Any]) -> Estimate:
        """How long an experiment would take on the server's workers, and what an answer of its model would cost."""
        return self._call(requests.estimation(spec), of(Estimate))

    def experiments(
        self, *, status: Status | None = None, prefix: str | None = None, page_size: int = 50
    ) -> Iterator[ExperimentRead]:
        """Every experiment, newest first, whose id begins with `prefix`; pages are fetched as they are reached."""
        return self._pages(Page[ExperimentRead], "experiments", status=status, prefix=prefix, limit=page_size)

    def experiment(self, experiment_id: str) -> ExperimentRead:
        return self._call(get("experiments", experiment_id), of(ExperimentRead))

    def compare_experiments(self, *experiment_ids: str) -> ExperimentComparison:
        """Settings that differ, trials and results of up to 20 experiments; those of other seeds as a group."""
        return self._call(get("experiments", "compare", id=experiment_ids), of(ExperimentComparison))

    def watch(self, experiment_id: str, *, after: int = 0) -> Iterator[Event]:
        """Yields the events of an experiment as they happen, from the one after number `after` to the last.

        A broken connection is opened again, also while the server restarts; no event is missed or repeated.
        """
        events = Events(experiment_id, after)
        while not events.ended:
            with self._opened(events.call()) as response, suppress(*BROKEN), reading(response):
                if response.status_code == httpx.codes.NO_CONTENT:
                    return
                for received in EventSource(response).iter_sse():
                    yield from events.read(received)
            time.sleep(0 if events.ended else events.pause_seconds)

    def trials(self, experiment_id: str, *, epochs: bool = True) -> list[TrialRead]:
        """Every trial in the order of its phases, with the metrics of every epoch unless `epochs` is False."""
        return self._call(get("experiments", experiment_id, "trials", epochs=epochs), requests.trials)

    def trial(self, trial_id: str) -> TrialRead:
        return self._call(get("trials", trial_id), of(TrialRead))

    def cancel(self, experiment_id: str) -> ExperimentRead:
        """Cancels waiting trials at once and stops running ones; a second call changes nothing."""
        return self._call(requests.cancellation(experiment_id), of(ExperimentRead))

    def retry(self, experiment_id: str) -> ExperimentRead:
        """Queues the failed trials of a failed experiment again; what is finished is kept. Never retried."""
        return self._call(requests.retry_request(experiment_id), of(ExperimentRead))

    def delete_experiment(self, experiment_id: str) -> None:
        """Deletes an ended experiment with its model and their files; a second call changes nothing."""
        self._call(requests.deletion("experiments", experiment_id), requests.text)

    def report(self, experiment_id: str) -> str:
        """One self-contained HTML file."""
        return self._call(get("experiments", experiment_id, "report"), requests.text)

    def catalog(self) -> Catalog:
        """Every name an experiment may use."""
        return self._call(get("catalog"), of(Catalog))

    def datasets(self) -> list[DatasetRead]:
        """Every data set an experiment may name."""
        return self._call(get("datasets"), requests.datasets)

    def dataset(self, name: str) -> DatasetRead:
        return self._call(get("datasets", name), of(DatasetRead))

    def register_dataset(
        self, name: str, file: File, *, lesions: File | None = None, patients: File | None = None
    ) -> DatasetRead:
        """Registers an npz file in MedMNIST layout, with its tables, and returns what the server found in it.

        The same files under the same name change nothing. Raises `OSError` for a file that cannot be read.
        """
        with requests.registration(name, {"file": file, "lesions": lesions, "patients": patients}) as call:
            return self._call(call, of(DatasetRead))

    def split_dataset(self, name: str, *, seed: int = 0) -> DatasetRead:
        """Makes a split without shared lesions, a data set of its own; the same seed makes it once."""
        return self._call(requests.splitting(name, seed), of(DatasetRead))

    def models(self, *, prefix: str | None = None, page_size: int = 50) -> Iterator[ModelRead]:
        """Every model, newest first, whose version begins with `prefix`; pages are fetched as they are reached."""
        return self._pages(Page[ModelRead], "models", prefix=prefix, limit=page_size)

    def model(self, version: str) -> TaggedModel:
        return self._call(get("models", version), requests.tagged)

    def compare(self, a: str, b: str) -> ComparisonRead:
        """How far the figures of `b` exceed those of `a` on the same test images, and whether chance explains it."""
        return self._call(get("models", "compare", a=a, b=b), of(ComparisonRead))

    def history(self) -> History:
        """Who made which model champion, when, and why; newest first."""
        return self._call(get("models", "history"), of(History))

    def card(self, version: str) -> str:
        """The model card in Markdown."""
        return self._call(get("models", version, "card"), requests.text)

    def bundle(self, version: str, target: str | os.PathLike[str]) -> Path:
        """Writes everything a model consists of to `target`, a zip, once every checksum is right.

        Raises `DownloadAltered`; nothing is at `target` then.
        """
        call, part = get("models", version, "bundle"), streams.partial_file(Path(target))
        try:
            with self._raising():
                manifest_sha256 = self._repeated(call, self._download, call, part)
            return streams.verify_and_rename(part, Path(target), manifest_sha256)
        finally:
            part.unlink(missing_ok=True)

    def promote(self, version: str, reason: str, *, if_match: str | None = None) -> PromotionRead:
        """Makes a model the champion. With `if_match`, the ETag of a model, refuses if the champion changed since.

        Never retried: the history would list two changes.
        """
        return self._call(requests.move(version, "promote", reason=reason, if_match=if_match), of(PromotionRead))

    def roll_back(self, reason: str, *, if_match: str | None = None) -> PromotionRead:
        """Makes the champion's predecessor champion again. Never retried: it would go back two promotions."""
        return self._call(requests.move("rollback", reason=reason, if_match=if_match), of(PromotionRead))

    def delete_model(self, version: str) -> None:
        """Deletes a model with its bundle, unless it is the champion; a second call changes nothing."""
        self._call(requests.deletion("models", version), requests.text)

    def predict(self, image: Image, *, explain: bool = False) -> Prediction:
        """Judges one image, a path or a name with its bytes, with the champion; `explain` adds a heatmap.

        Raises `OSError` for a file that cannot be read.
        """
        return self._call(requests.classification(image, explain), of(Prediction))

    def predict_batch(self, images: Iterable[Image]) -> Iterator[BatchLine]:
        """Judges any number of images, or zips of images, and yields the results as they arrive; `index` counts them.

        An image that cannot be judged has a `problem` in its line and does not affect the others. An answer that breaks
        off is not requested again: the other images may have been judged and recorded. Raises `OSError` for a file that
        cannot be read.
        """
        answered = 0
        for call in requests.batches(images):
            with self._opened(call) as response, reading(response):
                for text in response.iter_lines():
                    yield BatchLine.model_validate_json(text).model_copy(update={"index": answered})
                    answered += 1

    def prediction(self, prediction_id: str) -> PredictionRead:
        """One prediction as it was recorded, available within a second after its answer."""
        return self._call(get("predictions", prediction_id), of(PredictionRead))

    def prune(self, *, dry_run: bool = False) -> PrunedRead:
        """Removes now what the server's settings no longer keep; with `dry_run` it only counts."""
        return self._call(requests.pruning(dry_run), of(PrunedRead))

    def predictions(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        model: str | None = None,
        label: Label | None = None,
        page_size: int = 50,
    ) -> Iterator[PredictionRead]:
        """The recorded predictions, newest first; pages are fetched as the iteration reaches them."""
        params = requests.predictions(since, until, model, label, page_size)
        return self._pages(Page[PredictionRead], "predictions", **params)

    def record_outcome(
        self,
        prediction_id: str,
        outcome: Label,
        *,
        verified_by: str,
        verified_at: datetime,
        note: str | None = None,
        replaces: int | None = None,
    ) -> OutcomeRead:
        """Records what a lesion turned out to be; a second call with the same values changes nothing.

        `replaces` is the number of the outcome that this one corrects; without it, another outcome is refused.
        """
        call = requests.verification(prediction_id, outcome, verified_by, verified_at, note, replaces)
        return self._call(call, of(OutcomeRead))

    def outcomes(self, prediction_id: str) -> list[OutcomeRead]:
        """The outcomes of a prediction, the current one first; empty before the first."""
        return self._call(get("predictions", prediction_id, "outcome"), requests.outcomes)

    def ready(self) -> Readiness:
        """Whether database, broker and model answer: `status` is `ready` or `not-ready`."""
        return self._call(requests.READINESS, requests.readiness)

    def healthy(self) -> bool:
        """Whether a DermaTriage server answers one request; raises nothing if none does."""
        with suppress(ServerUnreachable, Refused):
            return self._call(requests.HEALTH, of(Health)).status == "ok"
        return False

    def _call(self, call: Call, read: Read[Answer]) -> Answer:
        with self._raising():
            response = self._repeated(call, self._send, call)
        with reading(response):
            return read(response)

    def _pages(self, kind: type[Page[Body]], path: str, **params: Any) -> Iterator[Body]:
        page = self._call(get(path, **params), of(kind))
        yield from page.items
        while page.next_cursor is not None:
            page = self._call(get(path, **params, cursor=page.next_cursor), of(kind))
            yield from page.items

    @contextmanager
    def _opened(self, call: Call) -> Iterator[httpx.Response]:
        """An answer whose body is still to be read; a failure before the body is retried."""
        with self._raising():
            response = self._repeated(call, self._send, call, stream=True)
            try:
                yield response
            finally:
                response.close()

    def _download(self, call: Call, part: Path) -> str:
        """Writes a bundle to `part` and returns the sha256 of its manifest."""
        response = self._send(call, stream=True)
        try:
            with part.open("wb") as file:
                file.writelines(response.iter_bytes())
        finally:
            response.close()
        return requests.manifest_sha256(response)

    def _repeated(self, call: Call, do: Callable[..., Answer], *args: Any, **named: Any) -> Answer:
        return RetryingCaller(**self._bounds(call))(self.retries.pause, do, *args, **named)

    def _send(self, call: Call, *, stream: bool = False) -> httpx.Response:
        request = self._http.build_request(call.method, call.path, **call.sent)
        response = self._http.send(request, stream=stream)
        if not response.is_success:
            response.read()
        call.check(response)
        return response


class AsyncClient(Connection):
    """`Client` for asynchronous programs: the same methods, documented there. It belongs to one event loop."""

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(**self._settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def submit(self, spec: BaseModel | Mapping[str, Any], *, key: str | None = None) -> ExperimentRead:
        return await self._call(requests.submission(spec, key), of(ExperimentRead))

    async def estimate(self, spec: BaseModel | Mapping[str, Any]) -> Estimate:
        return await self._call(requests.estimation(spec), of(Estimate))

    def experiments(
        self, *, status: Status | None = None, prefix: str | None = None, page_size: int = 50
    ) -> AsyncIterator[ExperimentRead]:
        return self._pages(Page[ExperimentRead], "experiments", status=status, prefix=prefix, limit=page_size)

    async def experiment(self, experiment_id: str) -> ExperimentRead:
        return await self._call(get("experiments", experiment_id), of(ExperimentRead))

    async def compare_experiments(self, *experiment_ids: str) -> ExperimentComparison:
        return await self._call(get("experiments", "compare", id=experiment_ids), of(ExperimentComparison))

    async def watch(self, experiment_id: str, *, after: int = 0) -> AsyncIterator[Event]:
        events = Events(experiment_id, after)
        while not events.ended:
            async with self._opened(events.call()) as response:
                with suppress(*BROKEN), reading(response):
                    if response.status_code == httpx.codes.NO_CONTENT:
                        return
                    async with aclosing(EventSource(response).aiter_sse()) as stream:
                        async for received in stream:
                            for event in events.read(received):
                                yield event
            await anyio.sleep(0 if events.ended else events.pause_seconds)

    async def trials(self, experiment_id: str, *, epochs: bool = True) -> list[TrialRead]:
        return await self._call(get("experiments", experiment_id, "trials", epochs=epochs), requests.trials)

    async def trial(self, trial_id: str) -> TrialRead:
        return await self._call(get("trials", trial_id), of(TrialRead))

    async def cancel(self, experiment_id: str) -> ExperimentRead:
        return await self._call(requests.cancellation(experiment_id), of(ExperimentRead))

    async def retry(self, experiment_id: str) -> ExperimentRead:
        return await self._call(requests.retry_request(experiment_id), of(ExperimentRead))

    async def delete_experiment(self, experiment_id: str) -> None:
        await self._call(requests.deletion("experiments", experiment_id), requests.text)

    async def report(self, experiment_id: str) -> str:
        return await self._call(get("experiments", experiment_id, "report"), requests.text)

    async def catalog(self) -> Catalog:
        return await self._call(get("catalog"), of(Catalog))

    async def datasets(self) -> list[DatasetRead]:
        return await self._call(get("datasets"), requests.datasets)

    async def dataset(self, name: str) -> DatasetRead:
        return await self._call(get("datasets", name), of(DatasetRead))

    async def register_dataset(
        self, name: str, file: File, *, lesions: File | None = None, patients: File | None = None
    ) -> DatasetRead:
        with requests.registration(name, {"file": file, "lesions": lesions, "patients": patients}) as call:
            return await self._call(call, of(DatasetRead))

    async def split_dataset(self, name: str, *, seed: int = 0) -> DatasetRead:
        return await self._call(requests.splitting(name, seed), of(DatasetRead))

    def models(self, *, prefix: str | None = None, page_size: int = 50) -> AsyncIterator[ModelRead]:
        return self._pages(Page[ModelRead], "models", prefix=prefix, limit=page_size)

    async def model(self, version: str) -> TaggedModel:
        return await self._call(get("models", version), requests.tagged)

    async def compare(self, a: str, b: str) -> ComparisonRead:
        return await self._call(get("models", "compare", a=a, b=b), of(ComparisonRead))

    async def history(self) -> History:
        return await self._call(get("models", "history"), of(History))

    async def card(self, version: str) -> str:
        return await self._call(get("models", version, "card"), requests.text)

    async def bundle(self, version: str, target: str | os.PathLike[str]) -> Path:
        call, part = get("models", version, "bundle"), streams.partial_file(Path(target))
        try:
            with self._raising():
                manifest_sha256 = await self._repeated(call, self._download, call, part)
            return await anyio.to_thread.run_sync(streams.verify_and_rename, part, Path(target), manifest_sha256)
        finally:
            part.unlink(missing_ok=True)

    async def promote(self, version: str, reason: str, *, if_match: str | None = None) -> PromotionRead:
        return await self._call(requests.move(version, "promote", reason=reason, if_match=if_match), of(PromotionRead))

    async def roll_back(self, reason: str, *, if_match: str | None = None) -> PromotionRead:
        return await self._call(requests.move("rollback", reason=reason, if_match=if_match), of(PromotionRead))

    async def delete_model(self, version: str) -> None:
        await self._call(requests.deletion("models", version), requests.text)

    async def predict(self, image: Image, *, explain: bool = False) -> Prediction:
        return await self._call(requests.classification(image, explain), of(Prediction))

    async def predict_batch(self, images: Iterable[Image]) -> AsyncIterator[BatchLine]:
        answered = 0
        for call in requests.batches(images):
            async with self._opened(call) as response:
                with reading(response):
                    async for text in response.aiter_lines():
                        yield BatchLine.model_validate_json(text).model_copy(update={"index": answered})
                        answered += 1

    async def prediction(self, prediction_id: str) -> PredictionRead:
        return await self._call(get("predictions", prediction_id), of(PredictionRead))

    async def prune(self, *, dry_run: bool = False) -> PrunedRead:
        return await self._call(requests.pruning(dry_run), of(PrunedRead))

    def predictions(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        model: str | None = None,
        label: Label | None = None,
        page_size: int = 50,
    ) -> AsyncIterator[PredictionRead]:
        params = requests.predictions(since, until, model, label, page_size)
        return self._pages(Page[PredictionRead], "predictions", **params)

    async def record_outcome(
        self,
        prediction_id: str,
        outcome: Label,
        *,
        verified_by: str,
        verified_at: datetime,
        note: str | None = None,
        replaces: int | None = None,
    ) -> OutcomeRead:
        call = requests.verification(prediction_id, outcome, verified_by, verified_at, note, replaces)
        return await self._call(call, of(OutcomeRead))

    async def outcomes(self, prediction_id: str) -> list[OutcomeRead]:
        return await self._call(get("predictions", prediction_id, "outcome"), requests.outcomes)

    async def ready(self) -> Readiness:
        return await self._call(requests.READINESS, requests.readiness)

    async def healthy(self) -> bool:
        with suppress(ServerUnreachable, Refused):
            return (await self._call(requests.HEALTH, of(Health))).status == "ok"
        return False

    async def _call(self, call: Call, read: Read[Answer]) -> Answer:
        with self._raising():
            response = await self._repeated(call, self._send, call)
        with reading(response):
            return read(response)

    async def _pages(self, kind: type[Page[Body]], path: str, **params: Any) -> AsyncIterator[Body]:
        page = await self._call(get(path, **params), of(kind))
        while True:
            for item in page.items:
                yield item
            if page.next_cursor is None:
                return
            page = await self._call(get(path, **params, cursor=page.next_cursor), of(kind))

    @asynccontextmanager
    async def _opened(self, call: Call) -> AsyncIterator[httpx.Response]:
        with self._raising():
            response = await self._repeated(call, self._send, call, stream=True)
            try:
                yield response
            finally:
                await response.aclose()

    async def _download(self, call: Call, part: Path) -> str:
        response = await self._send(call, stream=True)
        try:
            with part.open("wb") as file:
                async for chunk in response.aiter_bytes():
                    file.write(chunk)
        finally:
            await response.aclose()
        return requests.manifest_sha256(response)

    async def _repeated(self, call: Call, do: Callable[..., Awaitable[Answer]], *args: Any, **named: Any) -> Answer:
        return await AsyncRetryingCaller(**self._bounds(call))(self.retries.pause, do, *args, **named)

    async def _send(self, call: Call, *, stream: bool = False) -> httpx.Response:
        request = self._http.build_request(call.method, call.path, **call.sent)
        response = await self._http.send(request, stream=stream)
        if not response.is_success:
            await response.aread()
        call.check(response)
        return response
