"""Many images in as few requests as the server's limits allow, and their results as they come."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dermatriage_client.schemas import BatchLine
from service.client.calls import Call
from service.client.flows import Flow, Lines

# Well below the server's own bounds, 1,000 images and 100 MiB unless its settings say otherwise.
MOST_FILES = 200
MOST_BYTES = 32 * 2**20

# A file's path, or its name and content.
Image = str | os.PathLike[str] | tuple[str, bytes]


class Batch(Flow[BatchLine]):
    """One line an image in the order sent, those in zips included; `index` counts on over all requests.

    An image is read when its request is about to be sent. An answer that breaks off is not asked for again once a
    line of it has been told: the images behind it may have been judged and recorded.
    """

    def __init__(self, images: Iterable[Image]) -> None:
        self._groups = _groups(images)
        self._told = 0
        self._next()

    def begin(self, status: int, headers: Mapping[str, str]) -> None:  # noqa: ARG002
        self._lines, self._before = Lines(), self._told

    def feed(self, chunk: bytes) -> Iterable[BatchLine]:
        for text in self._lines.feed(chunk):
            line = BatchLine.model_validate_json(text)
            self._told += 1
            self._set(repeatable=False)
            yield line.model_copy(update={"index": self._before + line.index})

    def end(self) -> Iterable[BatchLine]:
        self._next()
        return ()

    def _next(self) -> None:
        self._files = next(self._groups, None)
        self._set(repeatable=True)

    def _set(self, *, repeatable: bool) -> None:
        files = self._files
        self.call = None if files is None else Call("POST", "/v1/predict/batch", {"files": files}, repeatable)


def named(image: Image) -> tuple[str, bytes]:
    """What a file is called and holds. Raises `OSError`."""
    if isinstance(image, tuple):
        return image
    return Path(image).name, Path(image).read_bytes()


def _groups(images: Iterable[Image]) -> Iterator[list[tuple[str, tuple[str, bytes]]]]:
    group: list[tuple[str, tuple[str, bytes]]] = []
    size = 0
    for image in images:
        name, content = named(image)
        if group and (len(group) == MOST_FILES or size + len(content) > MOST_BYTES):
            yield group
            group, size = [], 0
        group.append(("files", (name, content)))
        size += len(content)
    if group:
        yield group
