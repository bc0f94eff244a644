"""Reading members of an npz archive one at a time, so that a sealed split stays unread."""

import lzma
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from models_store.datasets.errors import DatasetInvalid

READ_AGAIN = "Copy or download the file again"
# zipfile raises RuntimeError for encrypted members and for compression that it does not know.
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, UnicodeDecodeError, EOFError, RuntimeError)


@dataclass(frozen=True)
class Header:
    """Shape and dtype of an array, known without reading its data."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an npz file; raises `DatasetInvalid` if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise DatasetInvalid(path, "the file does not exist", "Check the path") from error
    except OSError as error:
        raise DatasetInvalid(path, f"the file cannot be read ({error})", "Check its permissions and disk") from error
    except DAMAGED as error:
        raise DatasetInvalid(path, f"the file is truncated, damaged or no npz archive ({error})", READ_AGAIN) from error


def members(archive: zipfile.ZipFile) -> frozenset[str]:
    """Return the names of the arrays in the archive."""
    return frozenset(name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy"))


def unpacked_bytes(path: Path) -> int:
    """Return how many bytes all members of the archive take by their headers."""
    with opened(path) as archive:
        return sum(member.file_size for member in archive.infolist())


def read_header(path: Path, archive: zipfile.ZipFile, member: str) -> Header:
    """Read shape and dtype of one array, and check that the archive holds as many bytes as they promise."""
    with archive.open(f"{member}.npy") as stream:
        header = _parse_header(path, stream, member)
        data_starts = stream.tell()
    if header.dtype.hasobject:
        raise DatasetInvalid(path, f"{member} holds Python objects, which are never loaded", "Save plain arrays")
    promised = data_starts + prod(header.shape) * header.dtype.itemsize
    stored = archive.getinfo(f"{member}.npy").file_size
    if stored != promised:
        raise DatasetInvalid(path, f"{member} holds {stored} bytes where its header promises {promised}", READ_AGAIN)
    return header


def read_array(path: Path, archive: zipfile.ZipFile, member: str) -> NDArray[Any]:
    """Read one array whole; the archive's CRC-32 of it is checked on the way."""
    read_header(path, archive, member)
    with archive.open(f"{member}.npy") as stream:
        array: NDArray[Any] = npy.read_array(stream, allow_pickle=False)
        stream.read()  # zipfile compares the CRC-32 only at the end of the member
    return array


@contextmanager
def created(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a new compressed npz file for `write_array`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        yield archive


def write_array(archive: zipfile.ZipFile, member: str, array: NDArray[Any]) -> None:
    """Add one array. Equal arrays give equal bytes: a member has no time of its own."""
    with archive.open(f"{member}.npy", "w", force_zip64=True) as stream:
        npy.write_array(stream, array, allow_pickle=False)


def check_every_byte(path: Path) -> None:
    """Raise `DatasetInvalid` unless every member of the archive matches its CRC-32; checks no value."""
    with opened(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise DatasetInvalid(path, f"{damaged} does not match its CRC-32", READ_AGAIN)


def _parse_header(path: Path, stream: IO[bytes], member: str) -> Header:
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        version = npy.read_magic(stream)
        shape, _, dtype = readers[version](stream)
    except (ValueError, KeyError) as error:
        raise DatasetInvalid(path, f"{member} is not a NumPy array ({error})", "Save it with numpy.savez") from error
    return Header(shape, dtype)
