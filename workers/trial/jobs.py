"""What a trial's process does: train one network, or export, calibrate and test the winner."""

import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models_store.contract.outcomes import Collapsed, Epoch, Finalized, Outcome, Started, StoredFile, Trained
from models_store.contract.specs import Checkpoint, FinalSpec, TrialSpec
from models_store.datasets.sources import resolve
from models_store.files import sha256_of
from models_store.settings import Settings
from models_store.store import bundles
from models_store.store.folders import model_bundle, trial_checkpoints
from models_store.store.signatures import Signer
from models_store.store.storage import Storage
from models_store.version import commit
from workers.pipeline import backend
from workers.trial import resume_store
from workers.trial.protocol import Job, append_message, model_version
from workers.trial.resume_store import UploadClock

if TYPE_CHECKING:
    from workers.pipeline.training.training import TrainingOutcome


def do_training_job(job: Job, trial: TrialSpec, settings: Settings, storage: Storage, folder: Path) -> Outcome:
    """Trains one trial, continuing from the furthest resume point, and stores the weights of its best epoch."""
    from workers.pipeline.training.resume import ResumePointMismatch

    append_message(folder, Started())
    resume_store.fetch_if_further(job.resume, folder, storage)
    try:
        ended = _train(job, trial, settings, storage, folder)
    except ResumePointMismatch as mismatch:  # saved by other code or on other data
        print(f"starting over: {mismatch}")  # noqa: T201 - the process' log
        resume_store.discard(folder)
        ended = _train(job, trial, settings, storage, folder)
    if ended.best is None or ended.checkpoint is None:
        return Collapsed(reason=ended.collapsed or "", environment=environment())
    key = f"{trial_checkpoints(job.trial_id)}/{job.fence}/best.keras"
    checkpoint = StoredFile(key=key, sha256=sha256_of(ended.checkpoint))
    storage.put_file(ended.checkpoint, checkpoint.key)
    return Trained(
        best_epoch=ended.best.number,
        metrics=ended.best.metrics,
        checkpoint=checkpoint,
        environment=environment(),
    )


def _train(job: Job, trial: TrialSpec, settings: Settings, storage: Storage, folder: Path) -> "TrainingOutcome":
    from workers.pipeline.train_and_finalize import train_trial

    clock = UploadClock(settings.resume_upload_seconds)

    def report(epoch: Epoch) -> None:
        append_message(folder, epoch)
        print(_in_words(epoch), flush=True)  # noqa: T201 - the process' log
        if clock.is_due():
            _upload_resume_point(job, storage, folder)

    return train_trial(
        trial,
        job.experiment,
        dataset_of(job, settings, storage),
        folder,
        report,
        weights_root=settings.weights_root,
        checkpoint=None if trial.starts_from is None else fetch(trial.starts_from, storage, folder / "start.keras"),
    )


def _in_words(epoch: Epoch) -> str:
    names = ("val_recall", "val_specificity", "val_auc", "val_loss", "loss")
    figures = ", ".join(f"{name} {epoch.metrics[name]:.4f}" for name in names if name in epoch.metrics)
    verdict = "best so far" if epoch.best else "" if epoch.eligible else "not eligible"
    return f"epoch {epoch.number}: {figures}, {epoch.seconds:.1f} s{f', {verdict}' if verdict else ''}"


def _upload_resume_point(job: Job, storage: Storage, folder: Path) -> None:
    try:
        append_message(folder, resume_store.upload(folder, job.trial_id, storage))
    except OSError as error:  # training goes on, and the next upload may succeed
        print(f"the resume point was not uploaded: {error}")  # noqa: T201 - the process' log


def do_final_job(job: Job, final: FinalSpec, settings: Settings, storage: Storage, folder: Path) -> Outcome:
    """Exports, calibrates, freezes and tests the winner, and stores its bundle under a new version."""
    from workers.pipeline.data import SealedTestSet
    from workers.pipeline.ensemble import Network
    from workers.pipeline.train_and_finalize import Candidate, finalize

    signer = None if settings.signing_key is None else Signer.of(settings.signing_key)
    dataset = dataset_of(job, settings, storage)
    version = model_version(job.trial_id, job.fence)
    where = environment()
    with tempfile.TemporaryDirectory(prefix="bundle-", dir=folder) as name:
        bundle = Path(name)
        checkpoint = fetch(final.checkpoint, storage, bundle / "winner.keras")
        others = [
            Network(other.name, other.trial, fetch(other.checkpoint, storage, bundle / f"other-{number}.keras"))
            for number, other in enumerate(final.others)
        ]
        candidate = Candidate(final.winner, final.trial, checkpoint, job.experiment_id, others)
        sealed = SealedTestSet(dataset)
        model = finalize(candidate, job.experiment, dataset, sealed, bundle, environment=where, signer=signer)
        bundles.upload(bundle, storage, model_bundle(version))
    return Finalized(version=version, store_key=model_bundle(version), model=model, environment=where)


def dataset_of(job: Job, settings: Settings, storage: Storage) -> Path:
    return resolve(
        job.experiment.dataset,
        data_root=settings.data_root,
        cache_root=settings.cache_root,
        registered=job.dataset,
        storage=storage,
    )


def fetch(checkpoint: Checkpoint, storage: Storage, target: Path) -> Path:
    storage.get_verified(checkpoint.key, checkpoint.sha256, target)
    return target


def environment() -> dict[str, Any]:
    return {
        **backend.environment(),
        "host": socket.gethostname(),
        "gpu": os.environ.get("CUDA_VISIBLE_DEVICES", ""),
        "commit": commit(),
    }
