"""One attempt at a claimed trial: its job is written, its process watched, its news recorded."""

import sys
from pathlib import Path

from sqlalchemy.orm import Session

from models_store.runs import Claim
from models_store.specs import ExperimentSpec
from models_store.tables import DatasetRow, Experiment, Trial
from workers import job
from workers.adopting import adopt_earlier
from workers.app import Slot, Worker, attempt_folder
from workers.job import Job, MessageReader, RegisteredFile, StoredResumePoint, read_outcome
from workers.patience import patiently
from workers.supervisor import Exit, supervise
from workers.watch import Watch

MOST_GLANCE_SECONDS = 2.0  # a cancelled trial's process has to be gone within 10 s


def attempt(worker: Worker, claim: Claim, slot: Slot) -> Exit:
    """Runs the trial's process to its end, or adopts the outcome that an earlier one left before its worker died."""
    folder = attempt_folder(worker, claim)
    adopt_earlier(folder)
    folder.mkdir(parents=True, exist_ok=True)
    watch = Watch(worker, claim)
    outcome = read_outcome(folder)
    if outcome is not None and outcome.status != "failed":
        watch(MessageReader(folder).new())
        return Exit("finished", outcome)
    prepared = _prepare(worker, claim, folder)
    return supervise(
        [sys.executable, "-m", worker.settings.trial_module],
        folder,
        watch,
        worker.stopping,
        heartbeat_seconds=min(MOST_GLANCE_SECONDS, worker.settings.lease_seconds / 4),
        limit_seconds=prepared.experiment.limits.trial_minutes * 60,
        environment=slot.environment,
    )


def _prepare(worker: Worker, claim: Claim, folder: Path) -> Job:
    for stale in ("messages.jsonl", "outcome.json"):
        (folder / stale).unlink(missing_ok=True)
    prepared = patiently(worker.database.read, lambda session: _job(session, claim))
    job.write(folder / "job.json", prepared)
    return prepared


def _job(session: Session, claim: Claim) -> Job:
    trial = session.get_one(Trial, claim.trial_id)
    spec = ExperimentSpec.model_validate(session.get_one(Experiment, claim.experiment_id).spec)
    return Job.model_validate(
        {
            "trial_id": claim.trial_id,
            "experiment_id": claim.experiment_id,
            "name": trial.name,
            "attempt": claim.attempt,
            "fence": claim.fence,
            "experiment": spec,
            "work": trial.spec,
            "dataset": _registered(session.get(DatasetRow, spec.dataset)),
            "resume": _resume_point(trial),
        }
    )


def _registered(dataset: DatasetRow | None) -> RegisteredFile | None:
    if dataset is None:
        return None
    return RegisteredFile(
        name=dataset.name,
        sha256=dataset.sha256,
        store_key=dataset.store_key,
        lesions_store_key=dataset.lesions_store_key,
    )


def _resume_point(trial: Trial) -> StoredResumePoint | None:
    if trial.resume_key is None or trial.resume_sha256 is None:
        return None
    return StoredResumePoint(key=trial.resume_key, sha256=trial.resume_sha256, epochs=trial.resume_epochs)
