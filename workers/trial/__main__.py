"""``python -m workers.trial FOLDER``: the process of one trial. The worker itself imports no Keras."""

import socket
import sys
import traceback
from datetime import UTC, datetime
from pathlib import Path

from models_store.contract.outcomes import Failed, Outcome
from models_store.contract.specs import TrialSpec
from models_store.datasets.errors import DatasetUnavailable
from models_store.settings import Settings
from models_store.store.storage import Storage
from workers.pipeline import backend
from workers.trial.jobs import do_final_job, do_training_job
from workers.trial.protocol import OUTCOME_FILE, Job, end_with_the_worker, read_job, write


def main(folder: Path) -> None:
    """Does the job in `folder` and leaves its outcome there."""
    end_with_the_worker()
    settings = Settings()
    job = read_job(folder)
    place = f"{socket.gethostname()}, {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    print(f"{job.name}, attempt {job.attempt}, on {place}", flush=True)  # noqa: T201 - the process' log
    try:
        outcome = run(job, settings, folder)
    except Exception as error:
        traceback.print_exc()
        outcome = _failure(error)
    write(folder / OUTCOME_FILE, outcome)


def run(job: Job, settings: Settings, folder: Path) -> Outcome:
    storage = Storage(settings.store_url)
    if isinstance(job.work, TrialSpec):
        backend.configure(settings.backend, job.work.seed)
        return do_training_job(job, job.work, settings, storage, folder)
    backend.configure("tensorflow", job.work.trial.seed)  # only TensorFlow's graph is exported
    return do_final_job(job, job.work, settings, storage, folder)


def _failure(error: Exception) -> Failed:
    # The same spec fails on the same data in the same way, so only errors of the machine are worth another attempt.
    by_machine = isinstance(error, OSError | MemoryError | DatasetUnavailable)
    return Failed(error_kind=type(error).__name__, message=str(error) or repr(error), retry=by_machine)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
