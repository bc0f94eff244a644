"""The web application: collaborators, endpoints, and a watch on which model is champion."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from anyio import to_thread
from celery import Celery
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from models_store.broker import broker
from models_store.database import Database
from models_store.settings import Settings
from models_store.storage import Storage
from service import health, openapi
from service.deps import Service
from service.errors import add_handlers
from service.experiments import catalog
from service.experiments import endpoints as experiments
from service.headers import BodyLimit, SecurityHeaders
from service.models import endpoints as models
from service.predictions import endpoints as predictions
from service.predictions.images import limit_pillow
from service.predictions.predictor import Predictor
from service.security import refuse_open_access

WATCH_SECONDS = 1.0
MULTIPART_BYTES = 64 * 1024


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    storage: Storage | None = None,
    celery: Celery | None = None,
) -> FastAPI:
    """The service for one web process. Raises `OpenAccessRefused` where the settings would let anyone in."""
    refuse_open_access(settings)
    limit_pillow(settings.max_image_pixels)
    app = FastAPI(
        title="DermaTriage",
        version=version("dermatriage"),
        description=openapi.DESCRIPTION,
        lifespan=_lifespan,
        redoc_url=None,
        # Both spell a field's default out where the database or the model may leave it empty.
        separate_input_output_schemas=False,
    )
    app.state.service = _service(settings, database, storage, celery)
    app.add_middleware(BodyLimit, max_bytes=settings.max_upload_bytes + MULTIPART_BYTES)
    app.add_middleware(SecurityHeaders)
    add_handlers(app)
    for router in (experiments.router, catalog.router, models.router, predictions.router, health.router):
        app.include_router(router)
    app.add_api_route("/", lambda: RedirectResponse("/docs"), include_in_schema=False)
    openapi.describe(app)
    return app


def _service(settings: Settings, database: Database | None, storage: Storage | None, celery: Celery | None) -> Service:
    database = database or Database(settings.database_url)
    storage = storage or Storage(settings.store_url)
    predictor = Predictor(database, storage, settings.cache_root)
    return Service(settings, database, storage, celery or broker(settings), predictor)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    await to_thread.run_sync(service.predictor.refresh)  # warm before the first request
    watching = asyncio.create_task(_watch_champion(service.predictor))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        service.celery.close()
        service.database.dispose()


async def _watch_champion(predictor: Predictor) -> None:
    """Looks off the request path, so that no request waits for a new model to load."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        await to_thread.run_sync(predictor.refresh)
