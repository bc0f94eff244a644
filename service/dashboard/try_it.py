"""The page to try the champion: the browser sends one or several images to the API."""

import io
from functools import cache
from typing import Literal

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse
from PIL import Image

from models_store.datasets.drawing import draw_appearances, draw_photographs
from models_store.datasets.labels import CLASS_NAMES
from models_store.wording import DIAGNOSES
from service.dashboard.shell import PageRoute, Viewing, show
from service.dependencies import Services
from service.predictions.engine.images import FORMATS

router = APIRouter(route_class=PageRoute)

SAMPLE_PIXELS = 224
CACHE_CONTROL = "private, max-age=86400"
SEED = 7
SAMPLES = ("mel", "nv", "bcc", "bkl", "akiec", "vasc")


@router.get("/try")
async def try_it_page(viewer: Viewing, services: Services) -> HTMLResponse:
    if services.predictor.serving is None:
        await to_thread.run_sync(services.predictor.refresh)
    serving, settings = services.predictor.serving, services.settings
    return show(
        "try_it.html",
        viewer,
        page="try_it",
        serving=serving,
        refusal=services.predictor.refusal,
        formats=", ".join(FORMATS),
        max_megabytes=settings.max_upload_bytes / 2**20,
        max_images=settings.max_batch_images,
        samples={name: DIAGNOSES[name] for name in SAMPLES},
    )


@router.get("/try/samples/{diagnosis}.png")
def sample_image(diagnosis: Literal["mel", "nv", "bcc", "bkl", "akiec", "vasc"], viewer: Viewing) -> Response:  # noqa: ARG001
    headers = {"Cache-Control": CACHE_CONTROL}
    return Response(sample(diagnosis, SAMPLE_PIXELS), 200, headers, media_type="image/png")


@cache
def sample(diagnosis: str, size: int) -> bytes:
    """A generated PNG of `size` by `size` pixels for `diagnosis`. The same arguments give the same image."""
    random = np.random.default_rng((SEED, SAMPLES.index(diagnosis)))
    lesions = draw_appearances(np.array([CLASS_NAMES.index(diagnosis)]), random)
    file = io.BytesIO()
    Image.fromarray(draw_photographs(lesions, size, random)[0]).save(file, "PNG")
    return file.getvalue()
