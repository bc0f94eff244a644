"""The Celery application of a worker, and what its tasks work with."""

import os
import socket
from dataclasses import dataclass, field
from threading import Event

from celery import Celery

from models_store.broker import broker
from models_store.database import Database
from models_store.settings import Settings
from models_store.storage import Storage


@dataclass(frozen=True)
class Worker:
    """The collaborators of one worker process. `stopping` is set when it has been asked to stop."""

    settings: Settings
    database: Database
    storage: Storage
    celery: Celery
    name: str = field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")
    stopping: Event = field(default_factory=Event)


def create_worker(settings: Settings) -> Worker:
    return Worker(settings, Database(settings.database_url), Storage(settings.store_url), broker(settings))
