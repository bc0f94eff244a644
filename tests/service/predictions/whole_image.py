"""The preparation of an upload as it was before it went by bands: each step on the whole image. Not to be changed."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def prepared_whole(content: bytes, size: int) -> NDArray[np.uint8]:
    """uint8 (S, S, 3)"""
    with Image.open(io.BytesIO(content)) as opened:
        opened.load()
        image = _in_rgb(ImageOps.exif_transpose(opened))
    side = min(image.size)
    if image.size != (size, size):
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.uint8)


def _in_rgb(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (255, 255):
        return layered.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")
