"""How an answer is read as its bytes arrive, over one request or several: the same for both clients."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter

from service.client.calls import Answer, Call

Item = TypeVar("Item")


class Flow(ABC, Generic[Item]):
    """Says what to send next, and makes items of what comes.

    `call` is None once everything has come; `pause_seconds` is how long to wait before the next call.
    """

    call: Call | None
    pause_seconds = 0.0

    @abstractmethod
    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer begins; what an earlier one left unfinished is void."""

    @abstractmethod
    def feed(self, chunk: bytes) -> Iterable[Item]:
        """The items that are whole now."""

    @abstractmethod
    def end(self) -> Iterable[Item]:
        """The items that the end of the answer makes whole. Sets `call` anew."""


class Whole(Flow[Item]):
    """One call whose whole answer is one item."""

    def __init__(self, call: Call, read: Callable[[Answer], Item]) -> None:
        self.call = call
        self._read = read

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self._headers, self._content = status, headers, bytearray()

    def feed(self, chunk: bytes) -> Iterable[Item]:
        self._content += chunk
        return ()

    def end(self) -> Iterable[Item]:
        self.call = None
        yield self._read(Answer(self._status, self._headers, bytes(self._content)))


class Pages(Flow[Item]):
    """Every item of a list that comes in cursor pages; the next page is asked for when its turn comes."""

    def __init__(self, path: str, kind: type[Item], **params: Any) -> None:
        self._path, self._params = path, {name: value for name, value in params.items() if value is not None}
        self._items: TypeAdapter[list[Item]] = TypeAdapter(list[kind])  # type: ignore[valid-type]
        self._ask()

    def begin(self, status: int, headers: Mapping[str, str]) -> None:  # noqa: ARG002
        self._content = bytearray()

    def feed(self, chunk: bytes) -> Iterable[Item]:
        self._content += chunk
        return ()

    def end(self) -> Iterable[Item]:
        page = TypeAdapter(dict[str, Any]).validate_json(bytes(self._content))
        items = self._items.validate_python(page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            self.call = None
        else:
            self._ask(cursor=cursor)
        return items

    def _ask(self, **more: str) -> None:
        self.call = Call("GET", self._path, {"params": {**self._params, **more}})


class Lines:
    """Cuts bytes into lines at line feeds alone, where `str.splitlines` would also cut inside of JSON."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[str]:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [line.removesuffix(b"\r").decode() for line in lines]
