"""The requests of the API as values, and how an answer is read. Nothing here uses the network."""

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from dermatriage_client.schemas import (
    DatasetList,
    DatasetRead,
    Label,
    ModelRead,
    OutcomeHistory,
    OutcomeRead,
    Readiness,
    TrialList,
    TrialRead,
)

Body = TypeVar("Body", bound=BaseModel)
File = str | os.PathLike[str]
# A file's path, or its name and content.
Image = File | tuple[str, bytes]

# Well below the server's own bounds, 1,000 images and 100 MiB unless its settings say otherwise.
MAX_FILES = 200
MAX_BYTES = 32 * 2**20
# A server checks and stores a data set of gigabytes before it answers.
REGISTRATION_SECONDS = 1800


class TaggedModel(ModelRead):
    """A model with the ETag it came with; `promote` and `roll_back` take it as `if_match`."""

    etag: str


@dataclass(frozen=True)
class Call:
    """One request. `sent` is what httpx takes: `params`, `json`, `headers`, `files`, `timeout`.

    `repeatable`: sending it twice does no more than sending it once. `persistent`: a stream that is requested again
    where it broke off. `answers` are the statuses besides 2xx that are no error.
    """

    method: str
    path: str
    sent: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True
    persistent: bool = False
    answers: tuple[int, ...] = ()

    def check(self, response: httpx.Response) -> None:
        """Raises `httpx.HTTPStatusError` for an answer that is an error."""
        if response.status_code not in self.answers:
            response.raise_for_status()


HEALTH = Call("GET", "/healthz", repeatable=False)
READINESS = Call("GET", "/readyz", repeatable=False, answers=(503,))


def path(*parts: str) -> str:
    """`/v1/experiments/exp_1`; the parts are quoted, so that none can lead to another endpoint."""
    return "/".join(["/v1", *(quote(part, safe="") for part in parts)])


def get(*parts: str, **params: Any) -> Call:
    return Call("GET", path(*parts), {"params": {name: value for name, value in params.items() if value is not None}})


def post(*parts: str, repeatable: bool = True, **sent: Any) -> Call:
    return Call("POST", path(*parts), sent, repeatable)


def predictions(
    since: datetime | None, until: datetime | None, model: str | None, label: Label | None, page_size: int
) -> dict[str, Any]:
    """The parameters of the list of predictions. A moment without a time zone is in the zone of this machine."""
    moments = {"since": since, "until": until}
    sent = {name: None if moment is None else moment.astimezone(UTC).isoformat() for name, moment in moments.items()}
    return {**sent, "model": model, "label": label, "limit": page_size}


def submission(spec: BaseModel | Mapping[str, Any], key: str | None) -> Call:
    return post("experiments", json=_posted(spec), headers={"Idempotency-Key": key or uuid.uuid4().hex})


def estimation(spec: BaseModel | Mapping[str, Any]) -> Call:
    return post("experiments", "estimate", json=_posted(spec))


def cancellation(experiment_id: str) -> Call:
    return post("experiments", experiment_id, "cancel")


def retry_request(experiment_id: str) -> Call:
    """Not repeatable: a second request is refused, because the experiment is not `failed` any longer."""
    return post("experiments", experiment_id, "retry", repeatable=False)


def deletion(*parts: str) -> Call:
    return Call("DELETE", path(*parts))


def pruning(dry_run: bool) -> Call:
    return post("system", "prune", params={"dry_run": dry_run})


@contextmanager
def registration(name: str, parts: Mapping[str, File | None]) -> Iterator[Call]:
    """A data set that is streamed from its files; httpx starts again at the beginning of each."""
    with ExitStack() as opened:
        files = {
            part: (Path(file).name, opened.enter_context(Path(file).open("rb")))
            for part, file in parts.items()
            if file is not None
        }
        timeout = httpx.Timeout(60, read=REGISTRATION_SECONDS)
        yield post("datasets", params={"name": name}, files=files, timeout=timeout)


def splitting(dataset: str, seed: int) -> Call:
    return post("datasets", dataset, "split", json={"seed": seed})


def move(*parts: str, reason: str, if_match: str | None) -> Call:
    """A promotion or a rollback. Not repeatable: the history would list two changes."""
    headers = {} if if_match is None else {"If-Match": if_match}
    return post("models", *parts, repeatable=False, json={"reason": reason}, headers=headers)


def verification(
    prediction_id: str, outcome: Label, verified_by: str, verified_at: datetime, note: str | None, replaces: int | None
) -> Call:
    """An outcome. A moment without a time zone is in the zone of this machine. Sent twice, it is recorded once."""
    sent = {
        "outcome": outcome,
        "verified_by": verified_by,
        "verified_at": verified_at.astimezone(UTC).isoformat(),
        "note": note,
        "replaces": replaces,
    }
    return post("predictions", prediction_id, "outcome", json=sent)


def classification(image: Image, explain: bool) -> Call:
    return Call("POST", "/predict", {"files": {"file": _named(image)}, "params": {"explain": explain}})


def batches(images: Iterable[Image]) -> Iterator[Call]:
    """As few requests as the server's limits allow; an image is read when its request is about to be sent."""
    group: list[tuple[str, tuple[str, bytes]]] = []
    size = 0
    for name, content in map(_named, images):
        if group and (len(group) == MAX_FILES or size + len(content) > MAX_BYTES):
            yield post("predict", "batch", files=group)
            group, size = [], 0
        group.append(("files", (name, content)))
        size += len(content)
    if group:
        yield post("predict", "batch", files=group)


def of(kind: type[Body]) -> Callable[[httpx.Response], Body]:
    """Reads an answer as this schema."""
    return lambda response: kind.model_validate_json(response.content)


def text(response: httpx.Response) -> str:
    return response.content.decode()


def datasets(response: httpx.Response) -> list[DatasetRead]:
    return of(DatasetList)(response).items


def trials(response: httpx.Response) -> list[TrialRead]:
    return of(TrialList)(response).items


def outcomes(response: httpx.Response) -> list[OutcomeRead]:
    return of(OutcomeHistory)(response).items


def tagged(response: httpx.Response) -> TaggedModel:
    return TaggedModel.model_validate({**response.json(), "etag": response.headers["etag"]})


def manifest_sha256(response: httpx.Response) -> str:
    """The ETag of a bundle without its quotes."""
    return str(response.headers.get("etag", "")).strip('"')


def readiness(response: httpx.Response) -> Readiness:
    checks = response.json()["checks"]
    return Readiness(status="ready" if response.status_code == 200 else "not-ready", checks=checks)


def _named(image: Image) -> tuple[str, bytes]:
    return image if isinstance(image, tuple) else (Path(image).name, Path(image).read_bytes())


def _posted(spec: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    return spec.model_dump(mode="json") if isinstance(spec, BaseModel) else dict(spec)
