"""From the bytes of an upload to the square uint8 image that the model takes.

The header shows what an image costs: nothing is decoded that needs more memory than `DECODING_BYTES`. A decoded image
is cropped, turned upright, converted and made smaller in bands of rows, so that no second copy of it is made. The
pixels are those of the same steps on the whole image, bit for bit.
"""

import ctypes
import io
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin, UnidentifiedImageError
from PIL.ExifTags import Base

from service.predictions.engine.image_files import Damaged, decoding_bytes, refuse_incomplete_png

DICOM_READER = "service.predictions.engine.dicom"
DICOM, DICOM_AT = b"DICM", 128  # DICOM PS3.10; the bytes before it may be anything, even the head of a TIFF
PREAMBLE_BYTES = DICOM_AT + len(DICOM)
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
EIGHT_BIT_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "La", "CMYK", "YCbCr", "LAB", "HSV")
EXTREME_ASPECT_RATIO = 2.0
MAX_SIDE = 16_384
MAX_ASPECT_RATIO = 20
# The most memory that decoding may take: enough for 40 million pixels of 4 bytes, or for a WebP of 13 million.
DECODING_BYTES = 200 * 2**20
BAND_PIXELS = 2**18
M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES = -3, 2**20
TEXT_BYTES = 4 * 2**20  # of all compressed text chunks of a PNG, unpacked

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)
FROM_THE_RIGHT, FROM_THE_BOTTOM = (2, 3, 7, 8), (3, 4, 6, 7)

Box = tuple[int, int, int, int]
Reserve = Callable[[int], AbstractContextManager[None]]


@dataclass(frozen=True)
class Caution:
    """Something about an image that makes its answer less trustworthy; `code` is stable, for programs."""

    code: str
    message: str


@dataclass(frozen=True)
class Prepared:
    """`pixels` uint8 (S, S, 3), and the warnings about the image; a file that may name a patient is never kept."""

    pixels: NDArray[np.uint8]
    warnings: tuple[Caution, ...]
    may_name_patient: bool = False


TRANSPARENT = Caution("transparency", "The image is partly transparent; what shows through was taken as white.")


class ImageUnknown(ValueError):
    """The bytes are none of the accepted image formats."""


class ImageRefused(ValueError):
    """An image of an accepted format that cannot or may not be decoded."""


class TooManyPixels(ImageRefused):
    """An image that has more pixels, or needs more memory, than allowed; nothing of it was decoded."""


def is_dicom(content: bytes) -> bool:
    return content[DICOM_AT:PREAMBLE_BYTES] == DICOM


def limit_pillow(max_pixels: int) -> None:
    """Makes Pillow refuse larger images in this process, also in formats for which it allocates on opening."""
    _return_freed_memory()
    Image.MAX_IMAGE_PIXELS = max_pixels
    PngImagePlugin.MAX_TEXT_MEMORY = TEXT_BYTES
    warnings.simplefilter("error", Image.DecompressionBombWarning)


def _return_freed_memory() -> None:
    """Makes glibc return the memory of every decoded image at once.

    By default it takes blocks of up to 32 MB from its heaps once one has been freed, and the heaps of several threads
    keep what they have; that has doubled the memory of a web process.
    """
    with suppress(OSError, AttributeError):  # other C libraries do not have it
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)


def prepare(
    content: bytes,
    size: int,
    max_pixels: int,
    max_bytes: int = DECODING_BYTES,
    reserve: Reserve = lambda _needed: nullcontext(),
) -> Prepared:
    """Decodes one image, turns it upright, crops its centre to a square and resizes that to `size` bicubically.

    An image that is already `size` by `size` keeps every pixel. While it is decoded, the context `reserve(bytes)` is
    open, which may wait for memory to be free. Raises `ImageUnknown` and `ImageRefused`.
    """
    pixels, found = _decoded(content, size, max_pixels, max_bytes, reserve)
    if _is_grey(pixels):
        found.append(Caution("grayscale", "The image has no colour; the model was trained on colour photographs."))
    return Prepared(pixels, tuple(found), may_name_patient=is_dicom(content))


def _is_grey(pixels: NDArray[np.uint8]) -> bool:
    red, green, blue = pixels[0, 0].tolist()
    return red == green == blue and bool((pixels == pixels[..., :1]).all())


def _decoded(
    content: bytes, size: int, max_pixels: int, max_bytes: int, reserve: Reserve
) -> tuple[NDArray[np.uint8], list[Caution]]:
    """Removes tracebacks, because they would keep the decoded image in memory."""
    try:
        return _decode(content, size, max_pixels, max_bytes, reserve)
    except (ImageRefused, ImageUnknown) as refused:
        raise refused.with_traceback(None) from None
    except UnidentifiedImageError as unknown:
        raise ImageUnknown(f"the file is none of {', '.join(FORMATS)}") from unknown.with_traceback(None)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise TooManyPixels(f"the image has more than {max_pixels:,} pixels") from bomb.with_traceback(None)
    except Damaged as damaged:
        raise ImageRefused(f"the image is damaged or truncated: {damaged}") from damaged.with_traceback(None)
    except Exception as error:  # Pillow's decoders raise many kinds of errors for a broken file
        refusal = f"the image is damaged or truncated ({type(error).__name__})"
        raise ImageRefused(refusal) from error.with_traceback(None)


def _decode(
    content: bytes, size: int, max_pixels: int, max_bytes: int, reserve: Reserve
) -> tuple[NDArray[np.uint8], list[Caution]]:
    opened, needed = _opened(content, max_pixels)
    with opened:
        if needed > max_bytes:
            raise TooManyPixels(_memory_refusal(opened, needed, max_bytes))
        with reserve(needed), closing(opened):
            opened.load()
            if opened.format == "PNG":
                refuse_incomplete_png(content, opened)
            found = _frame_warnings(opened)
            return np.asarray(_square(opened, size, found)), found


def _opened(content: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    """An image of which nothing is decoded yet, and the bytes of memory that decoding takes."""
    if is_dicom(content):
        image, needed = _dicom_reader().opened(content)
        _refuse_by_header(image, max_pixels)
        return image, needed
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    _refuse_by_header(image, max_pixels)
    return image, decoding_bytes(image, content)


def _dicom_reader() -> Any:
    """Imported with the first DICOM file, because most servers get none."""
    try:
        return import_module(DICOM_READER)
    except ModuleNotFoundError as missing:
        remedy = "pip install 'dermatriage[dicom]' on the server, or send the image as a PNG"
        raise ImageUnknown(f"the file is DICOM, which this server does not read: {remedy}") from missing


def _refuse_by_header(image: Image.Image, max_pixels: int) -> None:
    """Checks the header: nothing has been decoded yet."""
    short, long = min(image.size), max(image.size)
    if image.width * image.height > max_pixels:
        raise TooManyPixels(f"the image has {image.width} x {image.height} pixels, more than {max_pixels:,}")
    if short < 1:
        raise ImageRefused("the image has no pixels")
    if long > MAX_SIDE or long > MAX_ASPECT_RATIO * short:
        raise ImageRefused(
            f"the image has {image.width} x {image.height} pixels; a side may have {MAX_SIDE:,} pixels and be "
            f"{MAX_ASPECT_RATIO} times as long as the other. Crop it around the lesion"
        )
    if image.format != "TIFF" and getattr(image, "is_animated", False):
        raise ImageRefused("the file holds several frames; send one image")
    if image.mode not in EIGHT_BIT_MODES:
        raise ImageRefused(f"the image has the pixel type {image.mode}; convert it to 8 bits per channel")


def _memory_refusal(image: Image.Image, needed: int, most: int) -> str:
    return (
        f"decoding this {image.format} of {image.width} x {image.height} pixels takes {needed / 2**20:,.0f} MiB of "
        f"memory, more than {most / 2**20:,.0f}; make it smaller, or save it as a JPEG that is not progressive"
    )


def _frame_warnings(image: Image.Image) -> list[Caution]:
    if not getattr(image, "is_animated", False):
        return []
    return [Caution("first_of_several", "The TIFF holds several images; only the first was used.")]


def _square(image: Image.Image, size: int, found: list[Caution]) -> Image.Image:
    """The upright centre of a decoded image, RGB, `size` by `size`.

    Pillow resizes the width first and rounds to 8 bits, so bands of rows can be made narrower one by one.
    """
    orientation = image.getexif().get(Base.Orientation, 1)
    width, height = reversed(image.size) if orientation in SIDEWAYS else image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    rows = max(1, BAND_PIXELS // side)
    boxes = [(left, top + at, left + side, top + min(at + rows, side)) for at in range(0, side, rows)]
    if len(boxes) == 1:
        narrow, transparent = _in_rgb(_upright(image, boxes[0], orientation))
    else:
        narrow, transparent = Image.new("RGB", (size, side)), False
        for box in boxes:
            band, is_transparent = _in_rgb(_upright(image, box, orientation))
            narrow.paste(band.resize((size, band.height), Image.Resampling.BICUBIC), (0, box[1] - top))
            transparent = transparent or is_transparent
    if transparent:
        found.append(TRANSPARENT)
    if (width, height) == (size, size):
        return narrow
    found += _geometry_warnings((width, height), size)
    return narrow.resize((size, size), Image.Resampling.BICUBIC)


def _upright(image: Image.Image, box: Box, orientation: int) -> Image.Image:
    """The part of an image that is at `box` once the image is turned upright."""
    if box == (0, 0, *image.size) and orientation not in UPRIGHT:
        return image
    left, top, right, bottom = box
    if orientation in SIDEWAYS:
        left, top, right, bottom = top, left, bottom, right
    if orientation in FROM_THE_RIGHT:
        left, right = image.width - right, image.width - left
    if orientation in FROM_THE_BOTTOM:
        top, bottom = image.height - bottom, image.height - top
    part = image.crop((left, top, right, bottom))
    return part.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else part


def _in_rgb(image: Image.Image) -> tuple[Image.Image, bool]:
    """The image on white, and whether anything of it is transparent."""
    if not image.has_transparency_data:
        return (image if image.mode == "RGB" else image.convert("RGB")), False
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (255, 255):
        return layered.convert("RGB"), False
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB"), True


def _geometry_warnings(shape: tuple[int, int], size: int) -> list[Caution]:
    short, long = min(shape), max(shape)
    width, height = shape
    found = []
    if short < size:
        message = f"The image of {width} x {height} pixels was enlarged to {size} x {size}; detail is missing."
        found.append(Caution("enlarged", message))
    if long > EXTREME_ASPECT_RATIO * short:
        message = f"Only the central {short} x {short} of {width} x {height} pixels was used."
        found.append(Caution("cropped", message))
    return found
