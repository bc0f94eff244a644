"""Checks of an image file before it is decoded: the memory that decoding takes, and whether a PNG is complete."""

import zlib
from collections.abc import Iterator

from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

# Pillow keeps one byte per pixel of these modes, and four of all others.
ONE_BYTE_MODES = ("1", "L", "P")
WEBP_PIXEL_BYTES = 16  # the canvas, a copy of it, the bytes given to Pillow and Pillow's image; measured: 16.3
MAX_PIXEL_BYTES = 16  # of any format but TIFF
SMALL_BYTES = 2**20  # less memory than this is not estimated more closely
BMP_RUN_BYTES = 3  # per pixel of a run-length coded bitmap, which is unpacked in Python
# Bytes per pixel that libtiff keeps of one strip or tile beside the image; three codecs use a decoder of their own.
TIFF_PART_BYTES = {"jpeg": 12, "tiff_jpeg": 12, "webp": 12, "raw": 0}
TIFF_PART_BYTES_OTHERWISE = 4
STRIP_ROWS, TILE_WIDTH, TILE_LENGTH, ORIENTATION, XMP = 278, 322, 323, 274, 700
COEFFICIENT_BYTES = 2
MAX_SCANS = 100  # of a JPEG; each pass decodes the whole image, and ordinary encoders write about ten
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # JPEG's markers of a frame: SOF
SCAN, WITHOUT_LENGTH = 0xDA, (0x01, *range(0xD0, 0xD9))
PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Adam7: first column and row of each pass, and the steps between its columns and rows.
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
PIECE = 2**16


class Damaged(ValueError):
    """The file breaks the rules of its format."""


def decoding_bytes(image: Image.Image, content: bytes) -> int:
    """The memory that decoding an opened image takes at most, in bytes, by its header alone. Raises `Damaged`."""
    pixels = image.width * image.height
    estimate = 2 * len(content) + MAX_PIXEL_BYTES * pixels
    if estimate <= SMALL_BYTES and image.format != "TIFF":
        return estimate
    one_byte = image.mode in ONE_BYTE_MODES
    stored = len(content) + pixels * (1 if one_byte else 4)
    if image.format in ("JPEG", "MPO"):
        return stored + _jpeg_coefficients(content)
    if image.format == "WEBP":
        return 2 * len(content) + WEBP_PIXEL_BYTES * pixels
    if image.format == "BMP" and one_byte:
        return stored + BMP_RUN_BYTES * pixels
    if isinstance(image, TiffImageFile):
        return stored + len(content) + _tiff_extra(image, stored)
    return stored


def refuse_incomplete_png(content: bytes, decoded: Image.Image) -> None:
    """Raises `Damaged` unless every checksum fits and the data holds every row.

    Pillow ignores wrong checksums, and takes an early end of the data for the end of the image: what is missing stays
    0. So the data has to be counted only where the last row is 0, or where rows are interlaced.
    """
    chunks = list(_png_chunks(content))
    header = bytes(next(data for kind, data in chunks if kind == b"IHDR"))
    width, height = decoded.size
    if not header[12] and (_is_set(decoded, width - 1) or decoded.crop((0, height - 1, width, height)).getbbox()):
        return
    wanted, inflated, inflating = _png_row_bytes(header), 0, zlib.decompressobj()
    for kind, data in chunks:
        if kind == b"IDAT" and inflated < wanted:
            inflated += _inflated_bytes(inflating, data)
    if inflated < wanted:
        raise Damaged("its data ends early")


def _is_set(decoded: Image.Image, column: int) -> bool:
    """Whether this pixel of the last row is not 0, which takes far less time to read than the row."""
    pixel = decoded.getpixel((column, decoded.height - 1))
    return any(pixel) if isinstance(pixel, tuple) else bool(pixel)


def _png_chunks(content: bytes) -> Iterator[tuple[bytes, memoryview]]:
    view, at, kind = memoryview(content), 8, b""
    while kind != b"IEND":
        end = at + 8 + int.from_bytes(view[at : at + 4])
        kind = bytes(view[at + 4 : at + 8])
        if len(content) < end + 4:
            raise Damaged("the file ends early")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4]):
            raise Damaged("a checksum is wrong")
        yield kind, view[at + 8 : end]
        at = end + 4


def _inflated_bytes(inflating: "zlib._Decompress", data: memoryview) -> int:
    """The number of bytes after decompression; none of them is kept."""
    found = 0
    for at in range(0, len(data), PIECE):
        piece = bytes(data[at : at + PIECE])
        while piece and not inflating.eof:
            found += len(inflating.decompress(piece, 4 * PIECE))
            piece = inflating.unconsumed_tail
    return found


def _png_row_bytes(header: bytes) -> int:
    """Bytes of all rows before compression, each with its filter's byte."""
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    depth, colour, interlaced = header[8], header[9], header[12]
    bits = depth * PNG_CHANNELS.get(colour, 0)
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = ((-(-(width - left) // across), -(-(height - top) // down)) for left, top, across, down in passes)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _jpeg_coefficients(content: bytes) -> int:
    """Bytes of the coefficients, all of which libjpeg keeps if the image has several scans, else 0."""
    frame: bytes | None = None
    for marker, segment in _jpeg_segments(content):
        if marker in FRAMES:
            if frame is not None:
                raise Damaged("it holds two frames")
            frame, progressive = segment, marker not in (0xC0, 0xC1)
        elif marker == SCAN and frame is not None:
            if not progressive and segment[0] == frame[5]:
                return 0
            if content.count(b"\xff\xda") > MAX_SCANS:
                raise Damaged(f"it has more than {MAX_SCANS} scans")
            return COEFFICIENT_BYTES * _jpeg_samples(frame)
    raise Damaged("it holds no image")


def _jpeg_segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment up to the first scan's."""
    at, marker = 2, 0
    while marker != SCAN and at + 4 <= len(content):
        marker = content[at + 1]
        if content[at] != 0xFF:
            raise Damaged("a marker is missing")
        if marker == 0xFF or marker in WITHOUT_LENGTH:
            at += 1 if marker == 0xFF else 2
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4])
        yield marker, content[at + 4 : end]
        at = end


def _jpeg_samples(frame: bytes) -> int:
    """Samples of all components, in whole blocks; `frame` is what follows the length of a SOF."""
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    factors = [(frame[at] >> 4, frame[at] & 15) for at in range(7, 6 + 3 * frame[5], 3)]
    across, down = max(each for each, _ in factors), max(each for _, each in factors)
    units = -(-width // (8 * across)) * -(-height // (8 * down))
    return sum(units * 64 * horizontal * vertical for horizontal, vertical in factors)


def _tiff_extra(image: TiffImageFile, stored: int) -> int:
    """What a TIFF needs beside its pixels: one strip or tile, and a second copy where Pillow turns it upright."""
    tags = image.tag_v2
    turned = stored if tags.get(ORIENTATION, 1) != 1 or XMP in tags else 0
    width = tags.get(TILE_WIDTH, image.width)
    height = tags.get(TILE_LENGTH, min(tags.get(STRIP_ROWS, image.height), image.height))
    a_pixel = TIFF_PART_BYTES.get(image.info.get("compression", ""), TIFF_PART_BYTES_OTHERWISE)
    return turned + a_pixel * int(width) * int(height)
