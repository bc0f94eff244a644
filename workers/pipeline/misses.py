"""The malignant images that the model let go most confidently, as small pictures that travel with the bundle."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from workers.pipeline.evaluation import Miss


def pictured(misses: Sequence[Miss], images: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Each miss with its image, of uint8 (N, S, S, 3), as base64 of a PNG under `png`; the worst first."""
    return [miss.model_dump() | {"png": _png(images[miss.index])} for miss in misses]


def _png(image: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode("ascii")
