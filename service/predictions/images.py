"""From any bytes the network sends to the square uint8 image that the model takes."""

import io
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "LAB", "HSV")
EXTREME_ASPECT_RATIO = 2.0


@dataclass(frozen=True)
class Warned:
    """Something about an image that makes its answer less trustworthy; `code` is stable, for programs."""

    code: str
    message: str


@dataclass(frozen=True)
class Prepared:
    """`pixels` uint8 (S, S, 3), and what was noticed on the way there."""

    pixels: NDArray[np.uint8]
    warnings: tuple[Warned, ...]


class ImageUnknown(ValueError):
    """The bytes are none of the accepted image formats."""


class ImageRefused(ValueError):
    """An image of an accepted format that cannot or may not be decoded."""


class TooManyPixels(ImageRefused):
    """An image of more pixels than allowed; nothing of it was decoded."""


def limit_pillow(max_pixels: int) -> None:
    """Lets Pillow itself refuse, in this whole process, what has more pixels, also where it allocates on opening."""
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def prepare(content: bytes, size: int, max_pixels: int) -> Prepared:
    """Decodes one image, turns it upright, crops its centre to a square and resizes that to `size` bicubically.

    An image that is already `size` by `size` keeps every pixel. Raises `ImageUnknown` and `ImageRefused`.
    """
    image, noticed = _decode(content, max_pixels)
    side = min(image.size)
    if image.size != (size, size):
        noticed += _about_geometry(image.size, size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.uint8)
    if (pixels == pixels[..., :1]).all():
        noticed.append(Warned("grayscale", "The image has no colour; the model was trained on colour photographs."))
    return Prepared(pixels, tuple(noticed))


def _decode(content: bytes, max_pixels: int) -> tuple[Image.Image, list[Warned]]:
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
            _refuse_unwanted(opened, max_pixels)
            if opened.format == "PNG":  # the only decoder that reads on over a wrong checksum
                with Image.open(io.BytesIO(content), formats=("PNG",)) as checked:
                    checked.verify()
            opened.load()
            noticed = _about_frames(opened)
            upright = ImageOps.exif_transpose(opened)
            return _in_rgb(upright, noticed), noticed
    except (ImageRefused, ImageUnknown):
        raise
    except UnidentifiedImageError as unknown:
        raise ImageUnknown(f"the file is none of {', '.join(FORMATS)}") from unknown
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise TooManyPixels(f"the image has more than {max_pixels:,} pixels") from bomb
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them stumble over
        raise ImageRefused(f"the image is damaged or truncated ({type(error).__name__})") from error


def _refuse_unwanted(image: Image.Image, max_pixels: int) -> None:
    """Looks at the header alone: nothing has been decoded yet."""
    if image.width * image.height > max_pixels:
        raise TooManyPixels(f"the image has {image.width} x {image.height} pixels, more than {max_pixels:,}")
    if min(image.size) < 1:
        raise ImageRefused("the image has no pixels")
    if image.format != "TIFF" and getattr(image, "is_animated", False):
        raise ImageRefused("the file holds several frames; send one image")
    if image.mode not in EIGHT_BIT_MODES:
        raise ImageRefused(f"the image has the pixel type {image.mode}; convert it to 8 bits per channel")


def _about_frames(image: Image.Image) -> list[Warned]:
    if not getattr(image, "is_animated", False):
        return []
    return [Warned("first_of_several", "The TIFF holds several images; only the first was looked at.")]


def _in_rgb(image: Image.Image, noticed: list[Warned]) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (255, 255):
        return layered.convert("RGB")
    noticed.append(Warned("transparency", "The image is partly transparent; what shows through was taken as white."))
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def _about_geometry(found: tuple[int, int], size: int) -> list[Warned]:
    short, long = min(found), max(found)
    width, height = found
    noticed = []
    if short < size:
        message = f"The image of {width} x {height} pixels was enlarged to {size} x {size}; detail is missing."
        noticed.append(Warned("enlarged", message))
    if long > EXTREME_ASPECT_RATIO * short:
        message = f"Only the central {short} x {short} of {width} x {height} pixels was looked at."
        noticed.append(Warned("cropped", message))
    return noticed
