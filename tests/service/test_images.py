"""Decoding and preparing uploads: what is kept exactly, what causes a warning, what is refused."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from service.predictions.engine.images import ImageRefused, ImageUnknown, Prepared, limit_pillow, prepare

SIZE = 28
PIXELS = 1_000_000


@pytest.fixture(autouse=True)
def _limited() -> Any:
    before = Image.MAX_IMAGE_PIXELS
    limit_pillow(PIXELS)
    yield
    Image.MAX_IMAGE_PIXELS = before


def noise(width: int = SIZE, height: int = SIZE, channels: int = 3) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)
    return Image.fromarray(pixels.squeeze())


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def prepared(content: bytes) -> Prepared:
    return prepare(content, SIZE, PIXELS)


def codes(content: bytes) -> list[str]:
    return [warning.code for warning in prepared(content).warnings]


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
                          ("WEBP", {"lossless": True})]
)  # fmt: skip
def test_image_of_the_exact_size_keeps_every_pixel(kind: str, options: dict[str, Any]) -> None:
    image = noise()
    found = prepared(encoded(image, kind, **options))
    assert np.array_equal(found.pixels, np.asarray(image))
    assert found.pixels.dtype == np.uint8
    assert found.warnings == ()


def test_jpeg_is_decoded_as_pillow_decodes_it() -> None:
    content = encoded(noise(), "JPEG", quality=90)
    assert np.array_equal(prepared(content).pixels, np.asarray(Image.open(io.BytesIO(content))))


def test_wide_image_is_cropped_around_its_centre_and_resized_bicubically() -> None:
    image = noise(60, 45)
    expected = image.crop((7, 0, 52, 45)).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    found = prepared(encoded(image))
    assert np.array_equal(found.pixels, np.asarray(expected))
    assert found.warnings == ()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(kind: str) -> None:
    image = Image.new("RGB", (SIZE, SIZE), "white")
    image.paste("red", (0, 0, SIZE, SIZE // 2))
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels = prepared(encoded(image, kind, exif=exif, **options)).pixels.astype(int)
    assert pixels[3, 3, 1] > 200
    assert pixels[-3, 3, 1] < 60


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (noise(20, 30), ["enlarged"]),
        (noise(100, 40), ["cropped"]),
        (noise(80, 40), []),
        (noise(SIZE, SIZE, 1), ["grayscale"]),
        (noise(SIZE, SIZE, 4), ["transparency"]),
        (noise().convert("P"), []),
        (noise().convert("RGBA"), []),
        (Image.new("1", (SIZE, SIZE)), ["grayscale"]),
        (noise(90, 10, 1), ["enlarged", "cropped", "grayscale"]),
    ],
)
def test_doubts_about_an_image_become_warnings(image: Image.Image, expected: list[str]) -> None:
    assert codes(encoded(image)) == expected


def test_transparent_pixels_are_taken_as_white() -> None:
    clear = Image.new("RGBA", (SIZE, SIZE), (200, 0, 0, 0))
    assert (prepared(encoded(clear)).pixels == 255).all()


def test_first_page_of_a_tiff_is_taken_and_the_rest_mentioned() -> None:
    first, second = noise(), Image.new("RGB", (SIZE, SIZE), "white")
    found = prepared(encoded(first, "TIFF", save_all=True, append_images=[second]))
    assert np.array_equal(found.pixels, np.asarray(first))
    assert [warning.code for warning in found.warnings] == ["first_of_several"]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "MPO"])
def test_several_frames_are_refused(kind: str) -> None:
    frames = [Image.new("RGB", (SIZE, SIZE), colour) for colour in ("red", "green", "blue")]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageRefused, match="several frames"):
        prepared(content)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"GIF89a", encoded(noise(), "GIF"), encoded(noise(), "ICO"), b"%PDF-1.7"]
)
def test_other_formats_are_unknown(content: bytes) -> None:
    with pytest.raises(ImageUnknown):
        prepared(content)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.98])
def test_truncated_image_is_refused(kind: str, share: float) -> None:
    content = encoded(noise(64, 64), kind)
    with pytest.raises((ImageRefused, ImageUnknown)):
        prepared(content[: int(len(content) * share)])


def test_png_with_a_wrong_checksum_is_refused() -> None:
    content = bytearray(encoded(noise(64, 64)))
    content[len(content) // 2] ^= 1
    with pytest.raises(ImageRefused):
        prepared(bytes(content))


@pytest.mark.parametrize(("width", "height"), [(1001, 1000), (30_000, 30_000), (2**31 - 1, 2**31 - 1), (1, 2**30)])
def test_huge_dimensions_are_refused_before_anything_is_decoded(width: int, height: int) -> None:
    with pytest.raises(ImageRefused, match="more than 1,000,000"):
        prepared(png_that_claims(width, height))


def test_webp_that_claims_a_huge_canvas_is_refused() -> None:
    content = bytearray(encoded(noise(), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"))
    assert content[12:16] == b"VP8X"
    content[24:30] = (16_382).to_bytes(3, "little") * 2
    with pytest.raises((ImageRefused, ImageUnknown)):
        prepared(bytes(content))


def test_sixteen_bit_grayscale_is_refused_rather_than_clipped() -> None:
    deep = Image.fromarray(np.full((SIZE, SIZE), 40_000, np.uint16))
    with pytest.raises(ImageRefused, match="8 bits"):
        prepared(encoded(deep))


def test_png_whose_text_chunk_explodes_is_refused() -> None:
    bomb = b"Comment\0\0" + zlib.compress(b"a" * 50_000_000)
    content = encoded(noise())
    with pytest.raises(ImageRefused):
        prepared(content[:33] + chunk(b"zTXt", bomb) + content[33:])


def png_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
