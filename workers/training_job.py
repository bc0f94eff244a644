"""Phases 1 and 2 inside a trial's process: one training run, its resume point kept here and in the store."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from models_store.settings import Settings
from models_store.specs import TrialSpec
from models_store.storage import Storage, sha256_of
from workers import resuming
from workers.job import Job, Outcome, append_message
from workers.job_inputs import dataset_of, environment, fetch
from workers.pipeline.progress import Epoch
from workers.resuming import UploadClock

if TYPE_CHECKING:
    from workers.pipeline.training import TrainingOutcome


def do_training_job(job: Job, trial: TrialSpec, settings: Settings, storage: Storage, folder: Path) -> Outcome:
    """Trains one trial, going on from the furthest resume point there is, and stores the weights of its best epoch."""
    from workers.pipeline.resume import ResumePointMismatch

    append_message(folder, {"kind": "started"})
    resuming.fetch_if_further(job.resume, folder, storage)
    try:
        ended = _train(job, trial, settings, storage, folder)
    except ResumePointMismatch as mismatch:  # other code or other data took it: its epochs are no part of this run
        print(f"beginning anew: {mismatch}")  # noqa: T201 - the process' log
        resuming.discard(folder)
        ended = _train(job, trial, settings, storage, folder)
    if ended.best is None or ended.checkpoint is None:
        reason = {"reason": ended.collapsed, "environment": environment()}
        return Outcome(status="collapsed", result=reason)
    key = f"trials/{job.trial_id}/{job.fence}/best.keras"
    storage.put_file(ended.checkpoint, key)
    return Outcome(
        status="succeeded",
        result={
            "best_epoch": ended.best.number,
            "metrics": dict(ended.best.metrics),
            "checkpoint_key": key,
            "checkpoint_sha256": sha256_of(ended.checkpoint),
            "environment": environment(),
        },
    )


def _train(job: Job, trial: TrialSpec, settings: Settings, storage: Storage, folder: Path) -> "TrainingOutcome":
    from workers.pipeline.study import train_trial

    clock = UploadClock(settings.resume_upload_seconds)

    def report(epoch: Epoch) -> None:
        append_message(folder, {"kind": "epoch", **asdict(epoch)})
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
        append_message(folder, {"kind": "resume_point", **asdict(resuming.upload(folder, job.trial_id, storage))})
    except OSError as error:  # training is worth more than its copy; the next one may be taken
        print(f"the resume point stays on this machine: {error}")  # noqa: T201 - the process' log
