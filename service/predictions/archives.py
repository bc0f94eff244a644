"""The images of an upload, one after the other: files as they are, and the members of zip archives.

Nothing is ever unpacked to a path, so no name in an archive can reach one; a name is only told back, cut to what can be
printed. How much a zip may hold is counted while it is read, whatever its directory promises.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

END_OF_DIRECTORY = b"PK\x05\x06"
ZIP64_LOCATOR = b"PK\x06\x07"
LONGEST_COMMENT = 65_535
# What the directory says of one member: 46 bytes, a name and extra fields.
DIRECTORY_BYTES_A_MEMBER = 1024
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
EXPANSION = 4  # of all members together, over the largest upload


class ArchiveRefused(ValueError):
    """A zip archive that cannot or may not be read."""


@dataclass(frozen=True)
class Member:
    """One image to judge; `refusal` in place of its content where it could not be read."""

    name: str
    content: bytes
    refusal: str | None = None


@dataclass(frozen=True)
class Limits:
    """Most images in one request, most bytes of one image and of all images together."""

    images: int
    image_bytes: int
    all_bytes: int


def is_zip(file: IO[bytes]) -> bool:
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    return start in (b"PK\x03\x04", END_OF_DIRECTORY)


def members(file: IO[bytes], limits: Limits) -> Iterator[Member]:
    """The members of a zip in the order of its directory. Raises `ArchiveRefused` before the first is read."""
    _refuse_large_directory(file, limits.images)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OSError, struct.error, NotImplementedError, UnicodeError) as broken:
        raise ArchiveRefused(f"the zip archive is damaged ({type(broken).__name__})") from broken
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(entries) > limits.images:
        raise ArchiveRefused(f"the zip archive holds {len(entries):,} files, more than {limits.images:,}")
    return _read_all(archive, entries, limits)


def printable(name: str | None) -> str:
    """A client's name for a file, harmless to show."""
    return "".join(letter for letter in (name or "")[:200] if letter.isprintable())


def _read_all(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], limits: Limits) -> Iterator[Member]:
    left = limits.all_bytes
    for entry in entries:
        member = _read(archive, entry, limits.image_bytes) if left > 0 else None
        if member is None:
            member = Member(printable(entry.filename), b"", "the archive holds more than may be unpacked")
        left -= len(member.content)
        yield member


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> Member:
    name = printable(entry.filename)
    if entry.flag_bits & 1:
        return Member(name, b"", "it is encrypted")
    if entry.compress_type not in PLAIN:
        return Member(name, b"", "it is compressed by another method than deflate")
    try:
        with archive.open(entry) as reading:
            content = reading.read(most + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, struct.error) as broken:
        return Member(name, b"", f"it is damaged ({type(broken).__name__})")
    return Member(name, content)


def _refuse_large_directory(file: IO[bytes], images: int) -> None:
    """Python's zipfile reads the whole directory into memory, however many members it lists."""
    length = file.seek(0, io.SEEK_END)
    file.seek(max(0, length - LONGEST_COMMENT - 22 - 20))
    tail = file.read()
    place = tail.rfind(END_OF_DIRECTORY)
    if place < 0 or len(tail) < place + 22:
        raise ArchiveRefused("the zip archive is damaged or truncated")
    size = struct.unpack_from("<L", tail, place + 12)[0]
    if ZIP64_LOCATOR in tail[max(0, place - 20) : place] or size == 0xFFFFFFFF:
        raise ArchiveRefused("the zip archive is in the format ZIP64, meant for archives far above what is allowed")
    if size > images * DIRECTORY_BYTES_A_MEMBER:
        raise ArchiveRefused(f"the zip archive lists more than {images:,} files")
    file.seek(0)
