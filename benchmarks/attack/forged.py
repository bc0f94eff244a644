"""Forged files: a few bytes that claim a large image, and archives whose members share their bytes."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Sequence

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
RGB, RGBA = 2, 6


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


END = _chunk(b"IEND", b"")


def png(width: int, height: int, data: bytes, colour: int = RGBA) -> bytes:
    """A PNG of 8 bits a channel with right checksums, whatever the zlib stream `data` holds."""
    size = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return SIGNATURE + _chunk(b"IHDR", size) + _chunk(b"IDAT", data) + END


def claiming_png() -> bytes:
    """69 bytes that claim 40,000,000 pixels and hold none of them."""
    return png(1, 40_000_000, zlib.compress(bytes(range(4))))


def blank_png(width: int, height: int) -> bytes:
    """A complete, valid, transparent RGBA image, about a thousandth of its pixels in size."""
    packing, row = zlib.compressobj(9), bytes(1 + 4 * width)
    most = max(1, 2**20 // len(row))
    parts = [packing.compress(row * min(most, height - at)) for at in range(0, height, most)]
    return png(width, height, b"".join(parts) + packing.flush())


def short_pngs() -> dict[str, bytes]:
    """PNGs of 28x28 whose data ends early, each in another way; their checksums are right."""
    rows = (b"\0" + bytes(range(84))) * 28
    whole = png(28, 28, zlib.compress(rows), RGB)
    return {
        "rows missing": png(28, 28, zlib.compress(rows[: len(rows) // 4]), RGB),
        "stream cut": png(28, 28, zlib.compress(rows)[:40], RGB),
        "no data": png(28, 28, zlib.compress(b""), RGB),
        "file cut": whole[:-30],
    }


def small_png() -> bytes:
    """A valid image of 28x28."""
    return _saved(Image.new("RGB", (28, 28), (190, 120, 100)), "PNG")


def large_bmp() -> bytes:
    """A valid image of 10 MB, just below the largest upload."""
    return _saved(Image.new("RGB", (1900, 1800), (190, 120, 100)), "BMP")


def packable_bmp() -> bytes:
    """A valid image of 8 MB that deflate compresses to 300 KB."""
    rng = random.Random(1)
    rows = b"".join(rng.randbytes(8) + bytes(248) for _ in range(1600 * 1600 * 3 // 256))
    return _saved(Image.frombytes("RGB", (1600, 1600), rows), "BMP")


def overlapping_zip(members: int, content: bytes, name: bytes = b"a.bmp") -> bytes:
    """A zip in which every entry of the directory is the same compressed file."""
    packed = _deflated(content)
    shared = _shared(packed, content)
    return _with_directory(_local(shared, name) + packed, [(shared, name, 0)] * members)


def quoting_zip(members: int, content: bytes) -> bytes:
    """A zip in which each member's data quotes the header of the next and goes on with its data, to the last.

    David Fifield, A better zip bomb, WOOT 2019. Names and offsets differ, and every checksum is right.
    """
    packed, plain, data = _deflated(content), content, b""
    entries: list[tuple[bytes, bytes, int]] = []
    for number in reversed(range(members)):
        shared, name = _shared(packed, plain), b"%04d.bmp" % number
        local = _local(shared, name)
        data = local + packed
        entries.insert(0, (shared, name, len(data)))
        packed = struct.pack("<BHH", 0, len(local), len(local) ^ 0xFFFF) + data  # a stored block of deflate
        plain = local + plain
    return _with_directory(data, [(shared, name, len(data) - length) for shared, name, length in entries])


def _deflated(content: bytes) -> bytes:
    packing = zlib.compressobj(6, zlib.DEFLATED, -15)
    return packing.compress(content) + packing.flush()


def _shared(packed: bytes, plain: bytes) -> bytes:
    """The fields of both headers of a member: version, flags, method, time, date, checksum and lengths."""
    return struct.pack("<HHHHHIII", 20, 0, zipfile.ZIP_DEFLATED, 0, 33, zlib.crc32(plain), len(packed), len(plain))


def _local(shared: bytes, name: bytes) -> bytes:
    return b"PK\x03\x04" + shared + struct.pack("<HH", len(name), 0) + name


def _with_directory(data: bytes, entries: Sequence[tuple[bytes, bytes, int]]) -> bytes:
    """`entries` are what their headers share, the name and the offset of each."""
    directory = b"".join(
        b"PK\x01\x02\x14\x00" + shared + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, offset) + name
        for shared, name, offset in entries
    )
    count = len(entries)
    return data + directory + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(directory), len(data), 0)


def _saved(image: Image.Image, kind: str) -> bytes:
    written = io.BytesIO()
    image.save(written, kind)
    return written.getvalue()
