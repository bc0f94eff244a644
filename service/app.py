"""The web application: its collaborators, middleware and endpoints, and the refresh of champion and keys."""

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version

from anyio import to_thread
from fastapi import FastAPI
from starlette.formparsers import MultiPartParser

from models_store.broker import Publisher, broker
from models_store.database import Database
from models_store.settings import Settings
from models_store.store.storage import Storage
from service.access.gate import Gate, refuse_open_access
from service.access.keys import Keyring
from service.access.rates import Rates
from service.dashboard import routes as dashboard
from service.dashboard.shell import add_unknown_page
from service.datasets import endpoints as datasets
from service.dependencies import Service
from service.errors import add_handlers
from service.experiments import catalog
from service.experiments import endpoints as experiments
from service.models import endpoints as models
from service.predictions import batch, outcomes
from service.predictions import endpoints as predictions
from service.predictions.admission import Admission, CapacityExceeded, Upload, refuse
from service.predictions.engine.images import limit_pillow
from service.predictions.engine.judging import Judge
from service.predictions.engine.predictor import Predictor
from service.predictions.engine.queues import AsyncMemory
from service.predictions.engine.recorder import Recorder
from service.protocols import installed_protocols
from service.system import endpoints as system
from service.system import health, prometheus
from service.system.disk import DiskUse
from service.web import api_docs, requests, webhook_docs
from service.web.limits import BodyLimit, Bounds, PlainText
from service.web.requests import Observe

# A promotion or a revoked key takes effect in every web process within two seconds: this interval, and the loading.
REFRESH_SECONDS = 0.5
MULTIPART_BYTES = 64 * 1024
SPOOLED_BYTES = 32 * 1024  # a file in a form that is larger is written to a temporary file
CONCURRENT_BATCHES = 4  # in a web process


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    storage: Storage | None = None,
) -> FastAPI:
    """The service for one web process. Raises `OpenAccessRefused` where the settings would let anyone in."""
    refuse_open_access(settings)
    limit_pillow(settings.max_image_pixels)
    MultiPartParser.spool_max_size = SPOOLED_BYTES
    app = FastAPI(
        title="DermaTriage",
        version=version("dermatriage"),
        description=api_docs.DESCRIPTION,
        lifespan=_lifespan,
        webhooks=webhook_docs.router,
        generate_unique_id_function=lambda route: route.name,
        docs_url=None,  # FastAPI's page would load Swagger UI from the internet
        redoc_url=None,
        # One schema for input and output: fields that the database or the model may leave empty have defaults in both.
        separate_input_output_schemas=False,
    )
    service = app.state.service = _service(settings, database, storage)
    max_image_body = settings.max_upload_bytes + MULTIPART_BYTES
    max_batch_body = settings.max_batch_bytes + MULTIPART_BYTES
    single = Upload(max_image_body, settings.waiting_images + settings.batch_images)
    uploads = {
        "/predict": single,
        "/v1/predict": single,
        "/v1/predict/batch": Upload(max_batch_body, CONCURRENT_BATCHES),
    }
    app.add_middleware(Admission, uploads=uploads, most_bytes=settings.waiting_bytes)
    app.add_exception_handler(CapacityExceeded, refuse)
    app.add_middleware(
        BodyLimit,
        usual=Bounds(max_image_body, settings.upload_seconds),
        larger={
            "/v1/predict/batch": Bounds(max_batch_body, settings.upload_seconds),
            "/v1/datasets": Bounds(settings.max_dataset_bytes, settings.dataset_upload_seconds),
        },
    )
    rates, sign_in_rates = (Rates(settings.requests_per_minute / settings.web_processes) for _ in range(2))
    app.add_middleware(Gate, settings=settings, keyring=service.keyring, rates=rates, sign_in_rates=sign_in_rates)
    app.add_middleware(PlainText)
    app.add_middleware(Observe)
    protocols = installed_protocols()
    for protocol in protocols:
        app.add_middleware(protocol.Translation)
    add_handlers(app)
    add_unknown_page(app)
    predictions.add_predict(app.router)  # first: routes are matched in order, and most requests are predictions
    for part in (
        experiments,
        catalog,
        datasets,
        models,
        predictions,
        batch,
        outcomes,
        health,
        prometheus,
        system,
        api_docs,
        dashboard,
    ):
        app.include_router(part.router)
    for protocol in protocols:
        app.include_router(protocol.router)
    api_docs.describe(app)
    return app


def _service(settings: Settings, database: Database | None, storage: Storage | None) -> Service:
    database = database or Database(settings.database_url, Publisher(broker(settings)))
    storage = storage or Storage.of(settings)
    return Service(
        settings=settings,
        database=database,
        storage=storage,
        predictor=Predictor(database, storage, settings.cache_root, settings.inference_threads),
        keyring=Keyring(database),
        judge=Judge(
            max_pixels=settings.max_image_pixels,
            most_together=settings.batch_images,
            most_waiting=settings.waiting_images,
        ),
        recorder=Recorder(database, storage),
        batch_memory=AsyncMemory(batch.MAX_BYTES),
        disk=DiskUse(database, storage),
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    await to_thread.run_sync(_refresh, service)  # loads the champion before the first request
    service.recorder.start()
    ended = asyncio.Event()
    refreshing = asyncio.create_task(_refresh_regularly(service, ended))
    try:
        yield
    finally:
        ended.set()  # not cancelled: a refresh in progress holds a database connection in its thread
        await refreshing
        service.judge.close()
        await to_thread.run_sync(service.recorder.close)
        await to_thread.run_sync(service.keyring.refresh)
        await to_thread.run_sync(service.disk.close)
        service.database.close()


async def _refresh_regularly(service: Service, ended: asyncio.Event) -> None:
    """Refreshes in the background, so that no request waits for a new model to load or a key to be read."""
    while not ended.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), REFRESH_SECONDS)
        if not ended.is_set():
            await to_thread.run_sync(_refresh, service)


def _refresh(service: Service) -> None:
    service.predictor.refresh()
    if service.settings.auth == "keys":
        service.keyring.refresh()


def create() -> FastAPI:
    """Reads the settings of the environment. Raises `OpenAccessRefused`."""
    requests.configure()
    app = create_app(Settings())
    gc.freeze()  # the garbage collector skips what is loaded by now; scanning it took 4 % of the time of an answer
    return app
