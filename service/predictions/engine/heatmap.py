"""A heatmap of an answer: how far the probability falls when a part of the image is covered.

Occlusion (Zeiler and Fergus, ECCV 2014) needs the ONNX network alone.
"""

import base64
import io
import time

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dermatriage_client.schemas import Explanation
from models_store.scoring.scorer import Scorer

PATCH = 1 / 4  # of the image's side
STEPS = 12  # patches along one side: 144 covered images
SHOWN = 224


def explain(scorer: Scorer, pixels: NDArray[np.uint8]) -> Explanation:
    """The image, uint8 (S, S, 3), with red where covering it lowers the probability of malignant, blue where it
    raises it; the strongest colour is the strongest change."""
    began = time.perf_counter()
    change = occlusion(scorer, pixels)
    picture = io.BytesIO()
    _coloured(pixels, change).save(picture, "PNG")
    return Explanation(
        method="occlusion",
        png_base64=base64.b64encode(picture.getvalue()).decode(),
        strongest_change=float(np.abs(change).max()),
        milliseconds=round((time.perf_counter() - began) * 1000, 1),
    )


def occlusion(scorer: Scorer, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean fall of the probability over the patches that cover each pixel, float64 (S, S)."""
    size = len(pixels)
    side = max(1, round(size * PATCH))
    starts = np.unique(np.linspace(0, size - side, STEPS).round().astype(int))
    corners = [(top, left) for top in starts for left in starts]
    covered = np.repeat(pixels[np.newaxis], len(corners), axis=0)
    mean = pixels.reshape(-1, 3).mean(0).round().astype(np.uint8)
    for image, (top, left) in zip(covered, corners, strict=True):
        image[top : top + side, left : left + side] = mean
    scores = scorer(covered)
    fall, times = np.zeros((size, size)), np.zeros((size, size))
    whole = scorer(pixels[np.newaxis])[0]
    for (top, left), score in zip(corners, scores, strict=True):
        fall[top : top + side, left : left + side] += whole - score
        times[top : top + side, left : left + side] += 1
    return np.asarray(fall / np.maximum(times, 1))


def _coloured(pixels: NDArray[np.uint8], change: NDArray[np.float64]) -> Image.Image:
    strength = np.abs(change) / max(float(np.abs(change).max()), 1e-12)
    colour = np.where(change[..., None] > 0, (220, 30, 30), (30, 60, 220))
    mixed = pixels * (1 - 0.6 * strength[..., None]) + colour * (0.6 * strength[..., None])
    return Image.fromarray(mixed.round().astype(np.uint8)).resize((SHOWN, SHOWN), Image.Resampling.BICUBIC)
