"""Out-of-distribution images, generated from a seed: noise, pages of text, photographs of other things, plain colours.

The photographs are crops of the two in scikit-learn (`load_sample_images`): a Chinese temple with sky, and a flower.
Images larger than the model's input are prepared like uploads.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images

from service.predictions.engine.images import prepare

NUMBER = 300
PAGE = (600, 450)
MAX_PIXELS = 10_000_000
WORDS = (
    *("the", "of", "and", "patient", "report", "date", "invoice", "total", "amount"),
    *("letter", "dear", "sir", "please", "find", "attached", "page", "number"),
)

Images = NDArray[np.uint8]


def strange_images(size: int, seed: int, number: int = NUMBER) -> dict[str, Images]:
    """`number` images uint8 (N, S, S, 3) of each kind."""
    random = np.random.default_rng(seed)
    temple, flower = load_sample_images().images
    makers = {
        "noise, each pixel": lambda: random.integers(0, 256, (size, size, 3), dtype=np.uint8),
        "noise, 224x224 made smaller": lambda: _uploaded(random.integers(0, 256, (224, 224, 3), dtype=np.uint8), size),
        "noise, 4x4 made larger": lambda: _uploaded(random.integers(0, 256, (4, 4, 3), dtype=np.uint8), size),
        "gray noise": lambda: _gray(random, size),
        "pages of text": lambda: _uploaded(_page(random), size),
        "lines of text, filling the image": lambda: _uploaded(_page(random, zoom=6), size),
        "photograph of a temple, crops": lambda: _uploaded(_crop(random, temple), size),
        "photograph of a flower, crops": lambda: _uploaded(_crop(random, flower), size),
        "plain colours": lambda: np.broadcast_to(random.integers(0, 256, 3, dtype=np.uint8), (size, size, 3)),
    }
    return {kind: np.stack([make() for _ in range(number)]) for kind, make in makers.items()}


def _uploaded(pixels: Images, size: int) -> Images:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return prepare(content.getvalue(), size, MAX_PIXELS).pixels


def _gray(random: np.random.Generator, size: int) -> Images:
    return np.repeat(np.clip(random.normal(128, 50, (size, size, 1)), 0, 255).astype(np.uint8), 3, axis=2)


def _page(random: np.random.Generator, zoom: int = 1) -> Images:
    """Dark words on paper, 12 to 39 pixels high, times `zoom`."""
    paper = Image.new("RGB", PAGE, tuple(int(value) for value in random.integers(225, 256, 3)))
    font = ImageFont.load_default(size=float(zoom * random.integers(12, 40)))
    drawing, top = ImageDraw.Draw(paper), int(random.integers(0, 30))
    while top < PAGE[1]:
        line = " ".join(random.choice(WORDS, 12 // zoom))
        drawing.text((int(random.integers(5, 40)), top), line, fill=(20, 20, 30), font=font)
        top += int(1.4 * font.size)
    return np.asarray(paper)


def _crop(random: np.random.Generator, photograph: Images) -> Images:
    height, width = photograph.shape[:2]
    side = int(random.integers(100, height))
    top, left = int(random.integers(0, height - side + 1)), int(random.integers(0, width - side + 1))
    return photograph[top : top + side, left : left + side]
