"""Every request of the API that a program makes, by what it asks for and how its answer is read."""

import json
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from dermatriage_client.schemas import (
    BatchLine,
    Catalog,
    ExperimentRead,
    History,
    ModelRead,
    Prediction,
    PredictionRead,
    PromotionRead,
    Readiness,
    Status,
    TrialList,
    TrialRead,
)
from models_store.contract.specs import ExperimentSpec
from service.client.batches import Batch, Image, named
from service.client.calls import Answer, Call, get, path
from service.client.downloads import Download
from service.client.flows import Flow, Pages, Whole
from service.client.watching import Event, Watch

Body = TypeVar("Body", bound=BaseModel)


class TaggedModel(ModelRead):
    """A model with the ETag it came with: hand it to `promote` or `roll_back` as `if_match`."""

    etag: str


def submit(spec: ExperimentSpec | Mapping[str, Any], *, key: str | None = None) -> Flow[ExperimentRead]:
    """Posts an experiment. The same `key` never submits it twice; without one, a new key is made for this call."""
    posted = spec.model_dump(mode="json") if isinstance(spec, ExperimentSpec) else dict(spec)
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return Whole(Call("POST", "/v1/experiments", {"json": posted, "headers": headers}), _as(ExperimentRead))


def experiments(*, status: Status | None = None, page_size: int = 50) -> Flow[ExperimentRead]:
    """Every experiment, newest first; pages are fetched as the iteration reaches them."""
    return Pages("/v1/experiments", ExperimentRead, status=status, limit=page_size)


def experiment(experiment_id: str) -> Flow[ExperimentRead]:
    return Whole(get(path("v1", "experiments", experiment_id)), _as(ExperimentRead))


def watch(experiment_id: str, *, after: int = 0) -> Flow[Event]:
    """What happens to an experiment, as it happens, after event number `after`, to its last event.

    A connection that breaks is made again, also while the server restarts; no event is missed or told twice.
    """
    return Watch(experiment_id, after)


def trials(experiment_id: str, *, epochs: bool = True) -> Flow[list[TrialRead]]:
    """Every trial in the order of its phases, with the metrics of every epoch unless `epochs` is False."""
    call = get(path("v1", "experiments", experiment_id, "trials"), params={"epochs": epochs})
    return Whole(call, lambda answer: _as(TrialList)(answer).items)


def trial(trial_id: str) -> Flow[TrialRead]:
    return Whole(get(path("v1", "trials", trial_id)), _as(TrialRead))


def cancel(experiment_id: str) -> Flow[ExperimentRead]:
    """Cancels what waits at once and asks what runs to stop; asking again changes nothing."""
    return Whole(Call("POST", path("v1", "experiments", experiment_id, "cancel")), _as(ExperimentRead))


def report(experiment_id: str) -> Flow[str]:
    """One self-contained HTML file."""
    return Whole(get(path("v1", "experiments", experiment_id, "report")), _text)


def catalog() -> Flow[Catalog]:
    """Every name an experiment may use."""
    return Whole(get("/v1/catalog"), _as(Catalog))


def models(*, page_size: int = 50) -> Flow[ModelRead]:
    """Every model, newest first; pages are fetched as the iteration reaches them."""
    return Pages("/v1/models", ModelRead, limit=page_size)


def model(version: str) -> Flow[TaggedModel]:
    return Whole(get(path("v1", "models", version)), _tagged)


def history() -> Flow[History]:
    """Who made which model champion, when, and why; newest first."""
    return Whole(get("/v1/models/history"), _as(History))


def card(version: str) -> Flow[str]:
    """The model card in Markdown."""
    return Whole(get(path("v1", "models", version, "card")), _text)


def bundle(version: str, target: str | os.PathLike[str]) -> Flow[Path]:
    """Writes everything a model consists of to `target`, a zip, once every checksum is right.

    Raises `DownloadAltered`; nothing is at `target` then.
    """
    return Download(version, target)


def promote(version: str, reason: str, *, if_match: str | None = None) -> Flow[PromotionRead]:
    """Makes a model the champion. With `if_match`, the ETag of a model, refuses if the champion changed since.

    Never sent twice: the history would tell of two moves.
    """
    return _moved(path("v1", "models", version, "promote"), reason, if_match)


def roll_back(reason: str, *, if_match: str | None = None) -> Flow[PromotionRead]:
    """Makes the champion's predecessor champion again. Never sent twice: it would go back two promotions."""
    return _moved("/v1/models/rollback", reason, if_match)


def predict(image: Image, *, explain: bool = False) -> Flow[Prediction]:
    """Judges one image, a path or a name with its bytes, with the champion; `explain` adds a heatmap.

    Raises `OSError` for a file that cannot be read.
    """
    sent = {"files": {"file": named(image)}, "params": {"explain": explain}}
    return Whole(Call("POST", "/predict", sent), _as(Prediction))


def predict_batch(images: Iterable[Image]) -> Flow[BatchLine]:
    """Judges any number of images, or zips of images, and tells each result as it comes.

    An image that cannot be judged has a `problem` in its line and spoils no other. Raises `OSError` for a file that
    cannot be read.
    """
    return Batch(images)


def prediction(prediction_id: str) -> Flow[PredictionRead]:
    """One prediction as it was recorded; there at the latest a second after it was answered."""
    return Whole(get(path("v1", "predictions", prediction_id)), _as(PredictionRead))


def ready() -> Flow[Readiness]:
    """Whether database, broker and model answer: `status` is `ready` or `not-ready`."""
    return Whole(Call("GET", "/readyz", repeatable=False, answers=(503,)), _readiness)


def healthy() -> Flow[bool]:
    return Whole(Call("GET", "/healthz", repeatable=False), lambda answer: "status" in json.loads(answer.content))


def _moved(where: str, reason: str, if_match: str | None) -> Flow[PromotionRead]:
    headers = {} if if_match is None else {"If-Match": if_match}
    call = Call("POST", where, {"json": {"reason": reason}, "headers": headers}, repeatable=False)
    return Whole(call, _as(PromotionRead))


def _as(kind: type[Body]) -> Callable[[Answer], Body]:
    return lambda answer: kind.model_validate_json(answer.content)


def _text(answer: Answer) -> str:
    return answer.content.decode()


def _tagged(answer: Answer) -> TaggedModel:
    return TaggedModel.model_validate({**json.loads(answer.content), "etag": answer.headers["etag"]})


def _readiness(answer: Answer) -> Readiness:
    found = json.loads(answer.content)
    return Readiness(status="ready" if answer.status == 200 else "not-ready", checks=found["checks"])
