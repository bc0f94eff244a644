"""The images of an upload, one after the other: files as they are, and the members of zip archives.

Nothing is ever unpacked to a path, so no name in an archive can reach one; an answer contains only the printable part
of a name. Sizes are counted while a zip is read, whatever its directory claims, over all archives of a request.
"""

import io
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO

from service.predictions.engine.images import ImageRefused

END_OF_DIRECTORY = b"PK\x05\x06"
ZIP64_LOCATOR = b"PK\x06\x07"
MAX_COMMENT_BYTES = 65_535
# The entry of one member in the directory: 46 bytes, a name and extra fields.
DIRECTORY_BYTES_A_MEMBER = 1024
LOCAL_HEADER_BYTES = 30
PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
EXPANSION = 4  # of all members together, over the largest upload
DECODED_BYTES = 4 * 2**30  # of all images together: 85 photographs of 12 million pixels


class ArchiveRefused(ValueError):
    """A zip archive that cannot or may not be read."""


class MemberRefused(ValueError):
    """A file that cannot or may not be read, in an archive whose other files can."""


@dataclass(frozen=True)
class Member:
    """One image to judge: `read` gives at most `size` bytes, or raises `MemberRefused`."""

    name: str
    size: int
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Limits:
    """Most bytes of one image; and of one request: images, bytes unpacked, and bytes of memory to decode them."""

    images: int
    image_bytes: int
    all_bytes: int
    decoded_bytes: int


class Allowance:
    """What one request may still cost, over all its files and archives together."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._files, self._directory_bytes = limits.images, limits.images * DIRECTORY_BYTES_A_MEMBER
        self._bytes, self._decoded_bytes = limits.all_bytes, limits.decoded_bytes
        self._lock = threading.Lock()

    def list_files(self, number: int) -> None:
        self._files -= number
        if self._files < 0:
            listed = self.limits.images - self._files
            raise ArchiveRefused(f"the zip archives hold {listed:,} files, more than {self.limits.images:,}")

    def read_directory(self, size: int) -> None:
        self._directory_bytes -= size
        if self._directory_bytes < 0:
            raise ArchiveRefused(f"the zip archives list more than {self.limits.images:,} files")

    def unpack(self, read: Callable[[], bytes]) -> bytes:
        if self._bytes <= 0:
            raise MemberRefused("the request holds more than may be unpacked; send the rest in another")
        content = read()
        self._bytes -= len(content)
        return content

    def decode(self, needed: int) -> None:
        """Called by several threads."""
        with self._lock:
            if needed > self._decoded_bytes:
                raise ImageRefused("the request holds more than may be decoded; send the rest in another")
            self._decoded_bytes -= needed


def is_zip(file: IO[bytes]) -> bool:
    file.seek(0)
    start = file.read(4)
    file.seek(0)
    return start in (b"PK\x03\x04", END_OF_DIRECTORY)


def members(file: IO[bytes], allowance: Allowance) -> Iterator[Member]:
    """The members of a zip in the order of its directory. Raises `ArchiveRefused` before the first is read."""
    _refuse_large_directory(file, allowance)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, OSError, struct.error, NotImplementedError, UnicodeError) as broken:
        raise ArchiveRefused(f"the zip archive is damaged ({type(broken).__name__})") from broken
    _refuse_overlaps(archive)
    entries = [entry for entry in archive.infolist() if not entry.is_dir()]
    allowance.list_files(len(entries))
    most = allowance.limits.image_bytes + 1
    return (
        Member(
            printable(entry.filename),
            min(entry.file_size, most),
            partial(allowance.unpack, partial(_read, archive, entry, most)),
        )
        for entry in entries
    )


def printable(name: str | None) -> str:
    """The printable part of a client's name for a file."""
    return "".join(letter for letter in (name or "")[:200] if letter.isprintable())


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int) -> bytes:
    if entry.flag_bits & 1:
        raise MemberRefused("it is encrypted")
    if entry.compress_type not in PLAIN:
        raise MemberRefused("it is compressed by another method than deflate")
    try:
        with archive.open(entry) as reading:
            return reading.read(most)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, struct.error) as broken:
        raise MemberRefused(f"it is damaged ({type(broken).__name__})") from broken


def _refuse_overlaps(archive: zipfile.ZipFile) -> None:
    """Members that share bytes let a small archive unpack to any size (Fifield, WOOT 2019); no program writes them."""
    entries = sorted(archive.infolist(), key=lambda entry: entry.header_offset)
    ends = [entry.header_offset for entry in entries[1:]] + [archive.start_dir]
    for entry, end in zip(entries, ends, strict=False):
        if entry.header_offset + LOCAL_HEADER_BYTES + len(entry.orig_filename) + entry.compress_size > end:
            raise ArchiveRefused("the zip archive has members that overlap")


def _refuse_large_directory(file: IO[bytes], allowance: Allowance) -> None:
    """Python's zipfile reads the whole directory into memory, however many members it lists."""
    length = file.seek(0, io.SEEK_END)
    file.seek(max(0, length - MAX_COMMENT_BYTES - 22 - 20))
    tail = file.read()
    place = tail.rfind(END_OF_DIRECTORY)
    if place < 0 or len(tail) < place + 22:
        raise ArchiveRefused("the zip archive is damaged or truncated")
    size = struct.unpack_from("<L", tail, place + 12)[0]
    if ZIP64_LOCATOR in tail[max(0, place - 20) : place] or size == 0xFFFFFFFF:
        raise ArchiveRefused("the zip archive is in the format ZIP64, meant for archives far above what is allowed")
    allowance.read_directory(size)
    file.seek(0)
