"""What passes between a worker and the process of one trial: a job in, messages and an outcome back, as files.

job.json        written by the worker before the process starts
messages.jsonl  appended by the process: a line when training starts, for every epoch, for every stored resume point
outcome.json    written whole by the process at its end; a process that leaves none has crashed
log.txt         everything the process printed
"""

import json
import uuid
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from models_store.contract.specs import ExperimentSpec, FinalSpec, Spec, TrialSpec
from models_store.files import replacing


class RegisteredFile(Spec):
    """Where the store holds a registered data set."""

    name: str
    sha256: str
    store_key: str
    lesions_store_key: str | None


class StoredResumePoint(Spec):
    """What an earlier attempt, perhaps on another machine, left in the store to go on from."""

    key: str
    sha256: str
    epochs: int


class Job(Spec):
    """One attempt at one trial."""

    trial_id: str
    experiment_id: str
    name: str
    attempt: int
    fence: int
    experiment: ExperimentSpec
    work: TrialSpec | FinalSpec = Field(union_mode="left_to_right")
    dataset: RegisteredFile | None
    resume: StoredResumePoint | None = None


def model_version(trial_id: str, fence: int) -> str:
    """The version of the model that one attempt makes, known from its claim: whatever it stored can be found again."""
    return f"mdl_{uuid.uuid5(uuid.NAMESPACE_OID, f'{trial_id}/{fence}').hex}"


class Outcome(Spec):
    """How the process says that it ended. `result` is what its kind of work yields."""

    status: Literal["succeeded", "collapsed", "failed"]
    result: dict[str, Any] = Field(default_factory=dict)
    error_kind: str = ""
    message: str = ""
    retry: bool = False


def write(path: Path, value: Spec) -> None:
    with replacing(path) as beside:
        beside.write_text(value.model_dump_json(indent=2), encoding="utf-8")


def read_job(folder: Path) -> Job:
    return Job.model_validate_json((folder / "job.json").read_bytes())


def read_outcome(folder: Path) -> Outcome | None:
    path = folder / "outcome.json"
    return Outcome.model_validate_json(path.read_bytes()) if path.exists() else None


def append_message(folder: Path, message: dict[str, Any]) -> None:
    with (folder / "messages.jsonl").open("a") as file:
        file.write(json.dumps(message, allow_nan=False) + "\n")


class MessageReader:
    """Reads each whole line of a trial's messages once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "messages.jsonl"
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _rest = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [json.loads(line) for line in whole.splitlines()]
