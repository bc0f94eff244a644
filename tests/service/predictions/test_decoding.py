"""Uploads are decoded in bounded memory, to the same pixels as on the whole image, and only if the file is complete."""

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.predictions.engine import images
from service.predictions.engine.image_files import decoding_bytes
from service.predictions.engine.images import DECODING_BYTES, ImageRefused, limit_pillow, prepare
from tests.service.predictions.whole_image import prepared_whole

SIZE = 28
PIXELS = 40_000_000
FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 90},
    "JPEG progressive": {"progressive": True, "subsampling": 0},
    "WEBP": {"method": 0},
    "WEBP lossless": {"lossless": True, "method": 0},
    "BMP": {},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
}
MODES = {
    "PNG": ("1", "L", "LA", "P", "P transparent", "RGB", "RGB transparent", "RGBA"),
    "JPEG": ("L", "RGB", "CMYK", "YCbCr"),
    "JPEG progressive": ("L", "RGB", "CMYK"),
    "WEBP": ("RGB", "RGBA"),
    "WEBP lossless": ("P transparent", "RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "TIFF": ("1", "L", "LA", "PA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB"),
    "TIFF lzw": ("L", "LA", "P", "RGB", "RGBA", "CMYK", "LAB"),
}


@pytest.fixture(autouse=True)
def _limited() -> Iterator[None]:
    before = Image.MAX_IMAGE_PIXELS
    limit_pillow(PIXELS)
    yield
    Image.MAX_IMAGE_PIXELS = before


@pytest.fixture
def narrow_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "BAND_PIXELS", 700)


def picture(mode: str, width: int, height: int) -> Image.Image:
    """Smooth noise, as of a photograph, in the mode."""
    mode, _, transparent = mode.partition(" ")
    bands = 2 if mode == "LA" else 4 if mode in ("RGBA", "PA") else 3
    coarse = np.random.default_rng(1).integers(0, 256, (9, 9, bands), np.uint8)
    fine = [Image.fromarray(coarse[..., band]).resize((width, height), 3) for band in range(bands)]
    image = Image.merge({2: "LA", 3: "RGB", 4: "RGBA"}[bands], fine)
    if mode == "LAB":
        return Image.merge("LAB", fine)
    image = image.quantize(64) if mode == "P" else image.convert(mode)
    if transparent:
        image.info["transparency"] = bytes(range(0, 256, 4)) if mode == "P" else image.getpixel((3, 3))
    return image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind.split(" ")[0], **FORMATS.get(kind, {}), **options)
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "mode"), [(kind, mode) for kind, modes in MODES.items() for mode in modes])
@pytest.mark.parametrize("shape", [(28, 28), (90, 67)])
@pytest.mark.usefixtures("narrow_bands")
def test_pixels_of_every_mode_are_those_of_the_whole_image_bit_for_bit(
    kind: str, mode: str, shape: tuple[int, int]
) -> None:
    content = encoded(picture(mode, *shape), kind)
    assert np.array_equal(prepare(content, SIZE, PIXELS).pixels, prepared_whole(content, SIZE))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP lossless", "TIFF", "TIFF lzw"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(41, 28), (90, 67), (66, 91)])
@pytest.mark.usefixtures("narrow_bands")
def test_pixels_of_every_orientation_are_those_of_the_whole_image_bit_for_bit(
    kind: str, orientation: int, shape: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(picture("RGB", *shape), kind, exif=exif)
    assert np.array_equal(prepare(content, SIZE, PIXELS).pixels, prepared_whole(content, SIZE))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, rows: bytes | None = None, colour: int = 6, interlaced: int = 0) -> bytes:
    """A PNG that claims a size, and whose data holds `rows`."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced)
    data = zlib.compress(b"\x00" * 100 if rows is None else rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(1, 40_000_000), (40_000_000, 1), (16_385, 2000), (100, 2001)])
def test_extreme_sides_and_ratios_are_refused_before_anything_is_decoded(width: int, height: int) -> None:
    with pytest.raises(ImageRefused, match=r"a side may have 16,384 pixels and be 20 times as long.*Crop it"):
        prepare(png(width, height), SIZE, PIXELS)


@contextmanager
def _forbidden(needed: int) -> Iterator[None]:
    pytest.fail(f"{needed} bytes were asked for")
    yield


@pytest.mark.parametrize(
    ("kind", "shape"), [("WEBP", (4200, 3200)), ("JPEG progressive", (5000, 4400))], ids=["webp", "progressive"]
)
def test_image_whose_decoder_needs_too_much_memory_is_refused_before_it_is_decoded(
    kind: str, shape: tuple[int, int]
) -> None:
    content = encoded(Image.new("RGB", shape), kind)
    with pytest.raises(ImageRefused, match=r"MiB of memory, more than 200; make it smaller, or save it as a JPEG"):
        prepare(content, SIZE, PIXELS, reserve=_forbidden)


@pytest.mark.parametrize(
    ("kind", "mode", "a_pixel"),
    [
        ("PNG", "RGB", 4),
        ("PNG", "L", 1),
        ("JPEG", "RGB", 4),
        ("JPEG progressive", "RGB", 10),
        ("JPEG progressive", "CMYK", 12),
        ("WEBP", "RGB", 16),
        ("BMP", "RGB", 4),
        ("BMP", "L", 4),
        ("TIFF", "RGB", 4),
    ],
)
def test_memory_of_decoding_is_that_of_the_mode_and_of_the_decoder(kind: str, mode: str, a_pixel: int) -> None:
    content = encoded(picture(mode, 640, 480), kind)
    with Image.open(io.BytesIO(content)) as opened:
        needed = decoding_bytes(opened, content)
    assert a_pixel * 640 * 480 <= needed <= (a_pixel + 0.1) * 640 * 480 + 2 * len(content)


def test_jpeg_of_one_component_a_scan_is_counted_like_a_progressive_one() -> None:
    content = bytearray(encoded(picture("RGB", 64, 64), "JPEG"))
    scan = content.index(b"\xff\xda")
    content[scan + 4] = 1
    with Image.open(io.BytesIO(content)) as opened:
        assert decoding_bytes(opened, bytes(content)) >= (4 + 3) * 64 * 64


def test_tiff_that_claims_a_huge_tile_is_refused() -> None:
    content = encoded(picture("RGB", 64, 64), "TIFF lzw")
    rows = struct.pack("<HHLHH", 278, 3, 1, 64, 0)
    assert rows in content
    content = content.replace(rows, struct.pack("<HHLL", 322, 4, 1, 2**30))
    with pytest.raises(ImageRefused):
        prepare(content, SIZE, PIXELS, reserve=_forbidden)


def test_photographs_of_todays_cameras_are_within_the_memory() -> None:
    for kind, shape in (("JPEG", (7680, 5120)), ("WEBP", (4080, 3072)), ("JPEG progressive", (4284, 4284))):
        content = encoded(Image.new("RGB", shape), kind)
        with Image.open(io.BytesIO(content)) as opened:
            assert decoding_bytes(opened, content) <= DECODING_BYTES


@pytest.mark.parametrize(("interlaced", "columns"), [(0, 40), (1, 5)])
def test_png_whose_data_ends_early_is_refused(interlaced: int, columns: int) -> None:
    first_row = b"\x00" + b"\x80" * 4 * columns
    with pytest.raises(ImageRefused, match="its data ends early"):
        prepare(png(40, 40, first_row, interlaced=interlaced), SIZE, PIXELS)


@pytest.mark.parametrize("kind", FORMATS)
def test_file_that_lacks_any_of_its_last_bytes_is_refused(kind: str) -> None:
    content = encoded(picture("RGB", 64, 64), kind)
    prepare(content, SIZE, PIXELS)
    for cut in (1, 2, 3, 4, 5, 8, 13, 40, len(content) // 2):
        with pytest.raises(ImageRefused):
            prepare(content[:-cut], SIZE, PIXELS)


@pytest.mark.parametrize(("mode", "bits"), [("1", 1), ("L", 8), ("P", 4), ("RGBA", 8)])
def test_complete_pngs_of_every_depth_are_judged(mode: str, bits: int) -> None:
    content = encoded(picture(mode, 37, 31), "PNG", **({"bits": bits} if mode == "P" else {}))
    assert prepare(content, SIZE, PIXELS).pixels.shape == (SIZE, SIZE, 3)


def test_interlaced_png_is_judged() -> None:
    passes = ((5, 5), (5, 5), (10, 4), (9, 9), (19, 9), (18, 18), (37, 17))  # of 37 x 35 pixels, columns and rows
    rows = b"".join((b"\x00" + b"\x80" * 4 * columns) * count for columns, count in passes)
    assert (prepare(png(37, 35, rows, interlaced=1), SIZE, PIXELS).pixels > 0).all()


def test_jpeg_of_more_scans_than_any_encoder_writes_is_refused() -> None:
    content = encoded(picture("RGB", 300, 300), "JPEG progressive")
    scan = content.rindex(b"\xff\xda")
    with pytest.raises(ImageRefused, match="more than 100 scans"):
        prepare(content[:-2] + content[scan:-2] * 100 + content[-2:], SIZE, PIXELS)
