"""Everything that the system page shows, and the removal of what the settings no longer keep."""

import platform
from functools import cache
from importlib.metadata import version
from typing import Annotated

import onnxruntime
from fastapi import APIRouter, Query
from sqlalchemy.orm import Session

from dermatriage_client.schemas import PrunedRead
from models_store.database import now
from models_store.retention import pruning
from models_store.version import commit
from service.dependencies import Reading, Service, Services
from service.system.drift import last_days
from service.system.health import checks
from service.system.live_recall import live_recalls
from service.system.schemas import SystemRead, Versions
from service.system.worker_status import live_workers, queues, recent_events, workers
from service.web.api_docs import problems

router = APIRouter(tags=["system"])


@router.get("/v1/system", responses=problems("database-unreachable"))
def read_system(session: Reading, services: Services) -> SystemRead:
    """Workers and their trials, queues, versions, the champion, live recall, and predictions of the last 14 days."""
    return system_state(session, services)


@router.post("/v1/system/prune", responses=problems("invalid-request"))
def prune_data(
    services: Services, dry_run: Annotated[bool, Query(description="Whether to count and remove nothing.")] = False
) -> PrunedRead:
    """Removes now what the settings `KEEP_…_DAYS` no longer keep; the sweeper does the same every ten minutes."""
    pruned = pruning.prune(services.database, services.storage, services.settings, dry_run=dry_run)
    return PrunedRead.model_validate(pruned)


def system_state(session: Session, services: Service) -> SystemRead:
    """The state of every part. One that does not answer within seconds is reported as such."""
    live = live_workers(services.settings.broker_url)
    found = checks(services)
    serving, moment = services.predictor.serving, now(session)
    return SystemRead(
        at=moment,
        checks=found,
        versions=_versions(session.get_bind().dialect.name),
        workers_heard=live is not None,
        workers=workers(session, live or (), moment),
        queues=queues(session, live or (), moment),
        champion=None if serving is None else serving.version,
        disk=services.disk.latest(),
        days=last_days(session, serving, moment),
        recalls=live_recalls(session),
        events=recent_events(session),
    )


@cache
def _versions(database: str) -> Versions:
    return Versions(
        product=version("dermatriage"),
        python=platform.python_version(),
        onnxruntime=onnxruntime.__version__,
        database=database,
        commit=commit(),
    )
