"""``python -m workers.trial FOLDER``: the process of one trial. Keras is imported here and nowhere above."""

import os
import signal
import socket
import sys
import tempfile
import traceback
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

from models_store import bundles
from models_store.datasets.errors import DatasetUnavailable
from models_store.datasets.sources import resolve
from models_store.settings import Settings
from models_store.specs import Checkpoint, FinalSpec, TrialSpec
from models_store.storage import Storage, sha256_of
from models_store.tables import new_id
from workers.job import Job, Outcome, append_message, read_job, write
from workers.pipeline import backend
from workers.version import commit


def main(folder: Path) -> None:
    """Does the job in `folder` and leaves its outcome there."""
    _die_with_the_worker()
    settings = Settings()
    job = read_job(folder)
    try:
        outcome = run(job, settings, folder)
    except Exception as error:
        traceback.print_exc()
        outcome = _failure(error)
    write(folder / "outcome.json", outcome)


def run(job: Job, settings: Settings, folder: Path) -> Outcome:
    storage = Storage(settings.store_url)
    if isinstance(job.work, TrialSpec):
        backend.configure(settings.backend, job.work.seed)
        return _train(job, job.work, settings, storage, folder)
    backend.configure("tensorflow", job.work.trial.seed)  # only TensorFlow's graph is exported
    return _finalize(job, job.work, settings, storage)


def _train(job: Job, trial: TrialSpec, settings: Settings, storage: Storage, folder: Path) -> Outcome:
    from workers.pipeline.progress import Epoch
    from workers.pipeline.study import train_trial

    def report(epoch: Epoch) -> None:
        append_message(folder, {"kind": "epoch", **asdict(epoch)})

    append_message(folder, {"kind": "started"})
    checkpoint = None if trial.starts_from is None else _fetch(trial.starts_from, storage, folder / "start.keras")
    ended = train_trial(
        trial,
        job.experiment,
        _dataset(job, settings, storage),
        folder,
        report,
        weights_root=settings.weights_root,
        checkpoint=checkpoint,
    )
    if ended.best is None or ended.checkpoint is None:
        reason = {"reason": ended.collapsed, "environment": _environment()}
        return Outcome(status="collapsed", result=reason)
    key = f"trials/{job.trial_id}/{job.attempt}/best.keras"
    storage.put_file(ended.checkpoint, key)
    return Outcome(
        status="succeeded",
        result={
            "best_epoch": ended.best.number,
            "metrics": dict(ended.best.metrics),
            "checkpoint_key": key,
            "checkpoint_sha256": sha256_of(ended.checkpoint),
            "environment": _environment(),
        },
    )


def _finalize(job: Job, final: FinalSpec, settings: Settings, storage: Storage) -> Outcome:
    from workers.pipeline.seal import RecordedOpening, SealedTestSet
    from workers.pipeline.study import Candidate, FinalModel, finalize

    dataset = _dataset(job, settings, storage)
    openings = [RecordedOpening(**opening.model_dump()) for opening in job.prior_openings]
    version = new_id("mdl")
    store_key = f"models/{version}"
    with tempfile.TemporaryDirectory(prefix="bundle-", dir=settings.work_root) as name:
        folder = Path(name)
        checkpoint = _fetch(final.checkpoint, storage, folder / "winner.keras")
        candidate = Candidate(final.winner, final.trial, checkpoint, job.experiment_id)
        model: FinalModel = finalize(candidate, job.experiment, dataset, SealedTestSet(dataset, openings), folder)
        bundles.upload(folder, storage, store_key)
    return Outcome(status="succeeded", result=_final_result(model, version, store_key))


def _final_result(model: Any, version: str, store_key: str) -> dict[str, Any]:
    about, evaluation = model.about, model.evaluation.model_dump(mode="json")
    named = {key: about[key] for key in ("dataset", "dataset_sha256", "synthetic", "weights", "winner", "architecture")}
    return {
        "model": {
            **named,
            "version": version,
            "store_key": store_key,
            "bundle_sha256": model.opening.bundle_sha256,
            "manifest_sha256": model.manifest_sha256,
            "threshold": model.opening.threshold,
        },
        "opening": {
            "dataset": about["dataset"],
            "dataset_sha256": about["dataset_sha256"],
            "bundle_sha256": model.opening.bundle_sha256,
            "threshold": model.opening.threshold,
            "images": model.test_images,
            "opened_at": model.opened_at.isoformat(),
        },
        "calibration": model.calibration,
        "validation": model.validation,
        "warnings": model.warnings,
        "evaluation": evaluation,
        "export": asdict(model.parity),
        "environment": _environment(),
    }


def _dataset(job: Job, settings: Settings, storage: Storage) -> Path:
    return resolve(
        job.experiment.dataset,
        data_root=settings.data_root,
        cache_root=settings.cache_root,
        registered=job.dataset,
        storage=storage,
    )


def _fetch(checkpoint: Checkpoint, storage: Storage, target: Path) -> Path:
    storage.get_verified(checkpoint.key, checkpoint.sha256, target)
    return target


def _environment() -> dict[str, Any]:
    return {**backend.environment(), "host": socket.gethostname(), "commit": commit()}


def _failure(error: Exception) -> Outcome:
    # The same spec on the same data fails the same way again, so only what the machine did is worth another attempt.
    machine = isinstance(error, OSError | MemoryError | DatasetUnavailable)
    return Outcome(status="failed", error_kind=type(error).__name__, message=str(error) or repr(error), retry=machine)


def _die_with_the_worker() -> None:
    """The worker holds the other end of standard input; its end of file means that the worker is gone."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os.killpg(os.getpgrp(), signal.SIGKILL)

    if os.getpgrp() == os.getpid() and not sys.stdin.isatty():
        Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
