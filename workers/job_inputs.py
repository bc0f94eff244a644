"""What every job of a trial's process needs: its data set, its checkpoint, and what to say of where it ran."""

import os
import socket
from pathlib import Path
from typing import Any

from models_store.datasets.sources import resolve
from models_store.settings import Settings
from models_store.specs import Checkpoint
from models_store.storage import Storage
from models_store.version import commit
from workers.job import Job
from workers.pipeline import backend


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
