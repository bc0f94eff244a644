"""Pictures to try a model with for whoever has none at hand: drawn by the generator of the synthetic data set.

They show no skin and no patient, and what a model says of them means nothing; the page says so.
"""

import io
from functools import cache

import numpy as np
from PIL import Image

from models_store.datasets.appearance import imagine
from models_store.datasets.drawing import photograph
from models_store.datasets.labels import CLASS_NAMES

SEED = 7
DRAWN_AS = ("mel", "nv", "bcc", "bkl", "akiec", "vasc")


@cache
def sample(diagnosis: str, size: int) -> bytes:
    """A PNG of `size` by `size` pixels, drawn as the generator draws `diagnosis`. Same arguments, same picture."""
    random = np.random.default_rng((SEED, DRAWN_AS.index(diagnosis)))
    lesions = imagine(np.array([CLASS_NAMES.index(diagnosis)]), random)
    file = io.BytesIO()
    Image.fromarray(photograph(lesions, size, random)[0]).save(file, "PNG")
    return file.getvalue()
