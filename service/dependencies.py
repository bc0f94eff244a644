"""What every endpoint shares: the collaborators of one web process, and one transaction a request."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock, Semaphore
from typing import Annotated, cast

from fastapi import Depends, Path, Query, Request
from sqlalchemy.orm import Session

from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from service.access.keys import Keyring
from service.predictions.engine.judging import Judge
from service.predictions.engine.predictor import Predictor
from service.predictions.engine.queues import AsyncMemory
from service.predictions.engine.recorder import Recorder
from service.system.disk import DiskUse

DATASET_UPLOADS = 4  # at once in a web process; each takes as much disk as its file


@dataclass(frozen=True)
class Service:
    """The collaborators of one web process."""

    settings: Settings
    database: Database
    storage: Storage
    predictor: Predictor
    keyring: Keyring
    judge: Judge
    recorder: Recorder
    batch_memory: AsyncMemory
    disk: DiskUse
    splitting: Lock = field(default_factory=Lock)
    dataset_uploads: Semaphore = field(default_factory=lambda: Semaphore(DATASET_UPLOADS))


async def service(request: Request) -> Service:  # async: FastAPI would run it in another thread otherwise
    return cast(Service, request.app.state.service)


Services = Annotated[Service, Depends(service)]


def reading(services: Services) -> Iterator[Session]:
    with services.database.read() as session:
        yield session


def writing(services: Services) -> Iterator[Session]:
    with services.database.write() as session:
        yield session


# The scope "function" ends a transaction before the answer is sent: a client that receives 202 finds the row.
Reading = Annotated[Session, Depends(reading, scope="function")]
Writing = Annotated[Session, Depends(writing, scope="function")]

IDENTIFIER = r"^[A-Za-z0-9_-]+$"
Identifier = Annotated[str, Path(max_length=64, pattern=IDENTIFIER)]
IdPrefix = Annotated[
    str, Query(max_length=64, pattern=r"^[A-Za-z0-9_-]*$", description="Only those whose id begins with this text.")
]
