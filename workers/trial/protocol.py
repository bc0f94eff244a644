"""The files between a worker and the process of one trial: a job goes in, messages and an outcome come back.

job.json        written by the worker before the process starts
messages.jsonl  appended by the process: a line when training starts, for every epoch, for every stored resume point
outcome.json    written by the process at its end; a process that writes none has crashed
log.txt         everything the process printed
"""

import logging
import os
import signal
import sys
import uuid
from pathlib import Path
from threading import Thread

from pydantic import Field, ValidationError

from models_store.contract.outcomes import MESSAGE, OUTCOME, Message, Outcome, ResumePoint
from models_store.contract.specs import ExperimentSpec, FinalSpec, Record, Spec, TrialSpec
from models_store.files import replacing

log = logging.getLogger(__name__)
JOB, MESSAGES, OUTCOME_FILE, LOG = "job.json", "messages.jsonl", "outcome.json", "log.txt"


class RegisteredFile(Spec):
    """Where the store holds a registered data set."""

    name: str
    sha256: str
    store_key: str
    lesions_store_key: str | None
    patients_store_key: str | None = None


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
    resume: ResumePoint | None = None


def model_version(trial_id: str, fence: int) -> str:
    """The version of the model that one attempt makes. It follows from the claim, so that its files can be found."""
    return f"mdl_{uuid.uuid5(uuid.NAMESPACE_OID, f'{trial_id}/{fence}').hex}"


def write(path: Path, value: Record) -> None:
    with replacing(path) as beside:
        beside.write_text(value.model_dump_json(indent=2), encoding="utf-8")


def read_job(folder: Path) -> Job:
    return Job.model_validate_json((folder / JOB).read_bytes())


def read_outcome(folder: Path) -> Outcome | None:
    """None if there is none, or if a process of another version wrote it; the attempt is then repeated."""
    try:
        return OUTCOME.validate_json((folder / OUTCOME_FILE).read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        log.warning("%s is not the outcome of this version and is ignored: %s", folder / OUTCOME_FILE, error)
        return None


def append_message(folder: Path, message: Message) -> None:
    with (folder / MESSAGES).open("a", encoding="utf-8") as file:
        file.write(message.model_dump_json() + "\n")


class MessageReader:
    """Reads each whole line of a trial's messages once."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / MESSAGES
        self._offset = 0

    def new(self) -> list[Message]:
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _rest = file.read().rpartition(b"\n")
        self._offset += len(whole) + len(newline)
        return [MESSAGE.validate_json(line) for line in whole.splitlines()]


def end_with_the_worker() -> None:
    """Kills this process group once the worker has ended, which closes the standard input of this process."""

    def wait() -> None:
        # Not sys.stdin: at the end of the trial the interpreter would wait a second for its lock, and then abort.
        while os.read(0, 1024):
            pass
        os.killpg(os.getpgrp(), signal.SIGKILL)

    if os.getpgrp() == os.getpid() and not sys.stdin.isatty():
        Thread(target=wait, daemon=True).start()
