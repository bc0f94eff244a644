"""A trial's process that trains nothing: it plays what a script says, in milliseconds and without Keras.

The script is a JSON file that the variable ACTING_TRIAL names: for each trial name, or "*", the fields of `play`. Every
start is noted in the file beside it, so that a test can count them.
"""

import hashlib
import json
import os
import signal
import sys
import time
import uuid
from pathlib import Path
from threading import Thread
from typing import Any

METRICS = {"val_recall": 0.9, "val_specificity": 0.8, "val_auc": 0.9, "val_precision": 0.5, "val_f2": 0.8}
TEST = {"recall": 0.91, "specificity": 0.7, "precision": 0.42, "f1": 0.58, "f2": 0.74}
SHA256 = "0" * 64


def main(folder: Path) -> None:
    _die_with_the_worker()
    job = json.loads((folder / "job.json").read_text())
    script = Path(os.environ["ACTING_TRIAL"])
    parts = json.loads(script.read_text())
    _note(script.with_suffix(".starts"), job)
    _play(folder, job, **(parts.get("*", {}) | parts.get(job["name"], {})))


def _play(
    folder: Path,
    job: dict[str, Any],
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
    """Takes `seconds` for each of `epochs`, then ends as `end` says, or dies if it is too early an attempt.

    With `seals`, bundle and threshold follow from the work alone, and each opening of the test set is noted.
    """
    if prints:
        print(prints, flush=True)  # noqa: T201 - into the trial's log
    _say(folder, {"kind": "started"})
    shown = METRICS | (metrics or {})
    for number in range(1, epochs + 1):
        time.sleep(seconds)
        _say(folder, {"kind": "epoch", "number": number, "metrics": shown, "seconds": seconds} | EPOCH)
    if job["attempt"] < fails_until_attempt or end == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if end == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if end == "hangs":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    if end == "memory":
        _fill_memory()
    if end == "collapsed":
        _end(folder, "collapsed", result={"reason": "no epoch reached specificity 0.50", "environment": PLACE})
    elif end in ("refused", "machine"):
        _end(folder, "failed", error_kind="Refused", message="it cannot train", retry=end == "machine")
    elif "winner" in job["work"]:
        frozen = _sealed(job) if seals else {"bundle_sha256": SHA256, "threshold": 0.3}
        if seals:
            _note(Path(os.environ["ACTING_TRIAL"]).with_suffix(".openings"), job, **frozen)
        _end(folder, "succeeded", result=_final(job, TEST | (test or {}), dataset_sha256, frozen))
    else:
        checkpoint = {"checkpoint_key": f"trials/{job['trial_id']}/{job['fence']}/best.keras"}
        trained = {"best_epoch": epochs, "metrics": shown, "checkpoint_sha256": SHA256, "environment": PLACE}
        _end(folder, "succeeded", result=trained | checkpoint)


def _sealed(job: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(job["work"], sort_keys=True).encode())
    return {"bundle_sha256": digest.hexdigest(), "threshold": digest.digest()[0] / 255}


def _final(job: dict[str, Any], test: dict[str, float], dataset_sha256: str, frozen: dict[str, Any]) -> dict[str, Any]:
    named = uuid.uuid5(uuid.NAMESPACE_OID, f"{job['trial_id']}/{job['fence']}")
    version = f"mdl_{named.hex}"
    seen = {"dataset": "acted", "dataset_sha256": dataset_sha256}
    about = {"synthetic": True, "weights": "none", "winner": job["work"]["winner"], "architecture": "CNN_v1"}
    stored = {"version": version, "store_key": f"models/{version}", "manifest_sha256": SHA256}
    return {
        "model": seen | frozen | about | stored,
        "opening": seen | frozen | {"images": 10, "opened_at": "2026-01-05T09:30:00+00:00"},
        "calibration": {"guarantee": {"holds": False}},
        "validation": {"recall": 0.9},
        "warnings": [],
        "evaluation": test,
        "export": {},
        "environment": PLACE,
    }


EPOCH = {"eligible": True, "best": True}
PLACE = {"host": "stage", "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", "")}


def _fill_memory() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (2**28, 2**28))
    bytearray(2**30)


def _say(folder: Path, message: dict[str, Any]) -> None:
    with (folder / "messages.jsonl").open("a") as file:
        file.write(json.dumps(message) + "\n")


def _end(folder: Path, status: str, **outcome: Any) -> None:
    beside = folder / "outcome.part"
    beside.write_text(json.dumps({"status": status, **outcome}))
    beside.replace(folder / "outcome.json")


def _note(notes: Path, job: dict[str, Any], **more: Any) -> None:
    start = {key: job[key] for key in ("experiment_id", "trial_id", "name", "attempt", "fence")}
    line = json.dumps(start | {"pid": os.getpid(), "gpu": PLACE["gpu"], "at": time.time()} | more) + "\n"
    with notes.open("a") as file:
        file.write(line)


def _die_with_the_worker() -> None:
    def wait() -> None:
        while os.read(0, 1024):
            pass
        os.killpg(os.getpgrp(), signal.SIGKILL)

    Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
