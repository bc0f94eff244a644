"""The process of a trial that trains nothing: it follows a script, in milliseconds and without Keras.

The script is a JSON file that the variable SCRIPTED_TRIAL names: for each trial name, or "*", arguments of `behave`.
Every start is noted in the file beside it, so that a test can count them.
"""

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from models_store.contract.outcomes import Collapsed, Epoch, Failed, Finalized, Outcome, Started, StoredFile, Trained
from models_store.contract.specs import FinalSpec
from tests.final_model import SHA256, a_final_model
from workers.trial.protocol import (
    OUTCOME_FILE,
    Job,
    append_message,
    end_with_the_worker,
    model_version,
    read_job,
    write,
)

METRICS = {"val_recall": 0.9, "val_specificity": 0.8, "val_auc": 0.9, "val_precision": 0.5, "val_f2": 0.8}
PLACE = {"host": "scripted", "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "")}


def main(folder: Path) -> None:
    end_with_the_worker()
    job, script = read_job(folder), Path(os.environ["SCRIPTED_TRIAL"])
    parts = json.loads(script.read_text())
    note(script.with_suffix(".starts"), job)
    behave(folder, job, **(parts.get("*", {}) | parts.get(job.name, {})))


def behave(
    folder: Path,
    job: Job,
    epochs: int = 2,
    seconds: float = 0.0,
    end: str = "succeeded",
    fails_until_attempt: int = 0,
    metrics: dict[str, float] | None = None,
    test: dict[str, float] | None = None,
    dataset_sha256: str = SHA256,
    prints: str = "",
    seals: bool = False,
) -> None:
    """Takes `seconds` for each of `epochs`, then ends by `end`, or crashes in an attempt before the given one.

    With `seals`, bundle and threshold follow from the work alone, and each opening of the test set is noted.
    """
    if prints:
        print(prints, flush=True)  # noqa: T201 - into the trial's log
    append_message(folder, Started())
    shown = METRICS | (metrics or {})
    for number in range(1, epochs + 1):
        time.sleep(seconds)
        append_message(folder, Epoch(number=number, metrics=shown, seconds=seconds, eligible=True, best=True))
    if job.attempt < fails_until_attempt or end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if end == "hangs":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    if end == "memory":
        fill_memory()
    write(folder / OUTCOME_FILE, outcome_of(job, end, epochs, shown, test, dataset_sha256, seals))


def outcome_of(
    job: Job,
    end: str,
    epochs: int,
    metrics: dict[str, float],
    test: dict[str, float] | None,
    dataset_sha256: str,
    seals: bool,
) -> Outcome:
    if end == "collapsed":
        return Collapsed(reason="no epoch reached specificity 0.50", environment=PLACE)
    if end in ("refused", "machine"):
        return Failed(error_kind="Refused", message="it cannot train", retry=end == "machine")
    if isinstance(job.work, FinalSpec):
        frozen = sealed(job) if seals else {}
        if seals:
            note(Path(os.environ["SCRIPTED_TRIAL"]).with_suffix(".openings"), job, **frozen)
        about = {"dataset": "scripted", "dataset_sha256": dataset_sha256, "synthetic": True, "weights": "none"}
        model = a_final_model(test=test, winner=job.work.winner, **about, **frozen)
        version = model_version(job.trial_id, job.fence)
        return Finalized(version=version, store_key=f"models/{version}", model=model, environment=PLACE)
    checkpoint = StoredFile(key=f"trials/{job.trial_id}/{job.fence}/best.keras", sha256=SHA256)
    return Trained(best_epoch=epochs, metrics=metrics, checkpoint=checkpoint, environment=PLACE)


def sealed(job: Job) -> dict[str, Any]:
    digest = hashlib.sha256(job.work.model_dump_json().encode())
    return {"bundle_sha256": digest.hexdigest(), "threshold": digest.digest()[0] / 255}


def fill_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))
    bytearray(2**30)


def note(notes: Path, job: Job, **more: Any) -> None:
    start = {key: getattr(job, key) for key in ("experiment_id", "trial_id", "name", "attempt", "fence")}
    line = json.dumps(start | {"pid": os.getpid(), "gpu": PLACE["gpu"], "at": time.time()} | more) + "\n"
    with notes.open("a") as file:
        file.write(line)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
