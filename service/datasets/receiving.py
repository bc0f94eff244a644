"""An uploaded data set: its parts go to a folder as they arrive, none of them through memory or a temporary folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from anyio import to_thread
from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from models_store.datasets.errors import DatasetInvalid
from models_store.datasets.lesions import lesions_path
from models_store.datasets.patients import patients_path

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FORM = b"multipart/form-data"
# Tables are read whole: 800,000 rows of lesions. The images are not, and the server limits the body.
MAX_TABLE_BYTES = 32 * 2**20


class Sink(Protocol):
    """Receives a body in pieces. `finish` raises if the body is incomplete, `close` closes open files."""

    def write(self, piece: bytes) -> object: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


async def receive(request: Request, path: Path) -> None:
    """Writes the body to the npz file `path`, and its tables beside it under the names that registration reads.

    Raises `HTTPException`, `RequestValidationError` and `DatasetInvalid`.
    """
    sink = _sink(request.headers.get("content-type", ""), path)
    try:
        async for piece in request.stream():
            await to_thread.run_sync(sink.write, piece)
        sink.finish()
    except FormParserError as error:
        raise HTTPException(400, f"the multipart body cannot be read ({error})") from error
    finally:
        sink.close()


def _sink(content_type: str, path: Path) -> Sink:
    kind, options = parse_options_header(content_type)
    if kind != FORM:
        return OneFile(path)
    if b"boundary" not in options:
        raise HTTPException(400, "the multipart body has no boundary")
    return FormFiles(
        options[b"boundary"], {"file": path, "lesions": lesions_path(path), "patients": patients_path(path)}
    )


class OneFile:
    """A body that is the npz file itself."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, piece: bytes) -> object:
        return self._file.write(piece)

    def finish(self) -> None:
        if self._file.tell() == 0:
            raise _invalid("file", "the body is empty; send an npz file")

    def close(self) -> None:
        self._file.close()


class FormFiles:
    """The files of a multipart body, written to `targets`, which has one for each name that a part may have."""

    def __init__(self, boundary: bytes, targets: Mapping[str, Path]) -> None:
        self._targets = dict(targets)
        self._header, self._value, self._disposition = b"", b"", b""
        self._name, self._written = "", 0
        self._file: BinaryIO | None = None
        self._is_complete = False
        self._parser = MultipartParser(boundary, self._callbacks())

    def write(self, piece: bytes) -> object:
        return self._parser.write(piece)

    def finish(self) -> None:
        if not self._is_complete:
            raise HTTPException(400, "the multipart body ends early")
        if "file" in self._targets:
            raise _invalid("file", "the part with the npz file is missing")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        name = parse_options_header(self._disposition)[1].get(b"name", b"").decode("utf-8", "replace")
        if name not in self._targets:
            raise _invalid(name, "send the parts file, lesions and patients, each at most once")
        self._name, self._written, self._disposition = name, 0, b""
        self._file = self._targets[name].open("wb")

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        assert self._file is not None
        self._written += end - start
        if self._name != "file" and self._written > MAX_TABLE_BYTES:
            raise DatasetInvalid(
                self._targets[self._name], f"more than {MAX_TABLE_BYTES:,} bytes", "Send one row for each image"
            )
        self._file.write(data[start:end])

    def _on_part_end(self) -> None:
        assert self._file is not None
        self._file.close()
        del self._targets[self._name]

    def _on_end(self) -> None:
        self._is_complete = True


def _invalid(part: str, found: str) -> RequestValidationError:
    return RequestValidationError([{"type": "upload", "loc": ("body", part), "msg": found}])
