"""One attempt at a claimed trial: its job is written, its process watched, its messages recorded."""

import sys
from pathlib import Path

from sqlalchemy.orm import Session

from models_store.contract.outcomes import Exit, Failed, ResumePoint
from models_store.contract.specs import ExperimentSpec, FinalSpec, TrialSpec
from models_store.runs import Claim
from models_store.tables import DatasetRow, Experiment, Trial
from workers.trial import protocol, resume_store
from workers.trial.protocol import Job, MessageReader, RegisteredFile, read_outcome
from workers.worker.context import Slot, Worker, attempt_folder, with_retries
from workers.worker.supervisor import supervise
from workers.worker.watch import Watch

MAX_HEARTBEAT_SECONDS = 2.0  # a cancelled trial's process has to be gone within 10 s


def attempt(worker: Worker, claim: Claim, slot: Slot) -> Exit:
    """Runs the trial's process to its end, or adopts the outcome that an earlier one left before its worker died."""
    folder = attempt_folder(worker, claim)
    adopt_earlier(folder)
    folder.mkdir(parents=True, exist_ok=True)
    watch = Watch(worker, claim)
    outcome = read_outcome(folder)
    if outcome is not None and not isinstance(outcome, Failed):
        watch(MessageReader(folder).new())
        return Exit(reason="finished", outcome=outcome)
    prepared = _prepare(worker, claim, folder)
    return supervise(
        [sys.executable, "-m", worker.settings.trial_module],
        folder,
        watch,
        worker.stopping,
        heartbeat_seconds=min(MAX_HEARTBEAT_SECONDS, worker.settings.lease_seconds / 4),
        limit_seconds=prepared.experiment.limits.trial_minutes * 60,
        environment=slot.environment,
    )


def _prepare(worker: Worker, claim: Claim, folder: Path) -> Job:
    for stale in (protocol.MESSAGES, protocol.OUTCOME_FILE):
        (folder / stale).unlink(missing_ok=True)
    prepared = with_retries(worker.database.read, lambda session: _job(session, claim))
    protocol.write(folder / protocol.JOB, prepared)
    return prepared


def _job(session: Session, claim: Claim) -> Job:
    trial = session.get_one(Trial, claim.trial_id)
    spec = ExperimentSpec.model_validate(session.get_one(Experiment, claim.experiment_id).spec)
    work: type[FinalSpec | TrialSpec] = FinalSpec if claim.kind == "finalize" else TrialSpec
    return Job(
        trial_id=claim.trial_id,
        experiment_id=claim.experiment_id,
        name=trial.name,
        attempt=claim.attempt,
        fence=claim.fence,
        experiment=spec,
        work=work.model_validate(trial.spec),
        dataset=_registered(session.get(DatasetRow, spec.dataset)),
        resume=_resume_point(trial),
    )


def _registered(dataset: DatasetRow | None) -> RegisteredFile | None:
    if dataset is None:
        return None
    return RegisteredFile(**{name: getattr(dataset, name) for name in RegisteredFile.model_fields})


def _resume_point(trial: Trial) -> ResumePoint | None:
    if trial.resume_key is None or trial.resume_sha256 is None:
        return None
    return ResumePoint(key=trial.resume_key, sha256=trial.resume_sha256, epochs=trial.resume_epochs)


def adopt_earlier(folder: Path) -> None:
    """Renames the folder of the furthest earlier attempt to `folder`, if there is one.

    Furthest is an attempt with an outcome to record, then the one with the most epochs. A process of that attempt that
    still runs no longer finds its files and ends.
    """
    attempts = folder.parent.iterdir() if folder.parent.is_dir() else ()
    earlier = [attempt for attempt in attempts if attempt.name.isdigit() and int(attempt.name) < int(folder.name)]
    if earlier:
        max(earlier, key=_reached).rename(folder)


def _reached(attempt: Path) -> tuple[bool, int, int]:
    outcome = read_outcome(attempt)
    has_ended = outcome is not None and not isinstance(outcome, Failed)
    return has_ended, resume_store.epochs_behind(attempt), int(attempt.name)
