"""The two clients: the same flows, run by blocking and by awaiting."""

import ipaddress
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx

from service.client import requests
from service.client.calls import Answer, Call
from service.client.errors import Refused, ServerUnreachable, not_ours
from service.client.flows import Flow
from service.client.retrying import Attempts, Retries
from service.client.verbs import Verbs

Item = TypeVar("Item")
DEFAULT_URL = "http://127.0.0.1:8000"


class Connection(Verbs):
    """What both clients are told: where the server is, the API key, and how patient to be.

    Raises `ServerUnreachable` for what is no address.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        key: str | None = None,
        timeout_seconds: float = 60,
        retries: Retries | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self.retries = retries or Retries()
        self._settings: dict[str, Any] = {
            "base_url": _address(self.url),
            "headers": {} if key is None else {"Authorization": f"Bearer {key}"},
            "timeout": timeout_seconds,
            # A proxy in the environment cannot reach this machine's own loopback.
            "trust_env": not _is_loopback(self.url),
        }


class Client(Connection):
    """Talks to one server. Every method raises `ServerUnreachable` or `Refused`."""

    @cached_property
    def _http(self) -> httpx.Client:
        return httpx.Client(**self._settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def answer(self, flow: Flow[Item]) -> Item:
        """The one item of a flow."""
        (item,) = self.stream(flow)
        return item

    def stream(self, flow: Flow[Item]) -> Iterator[Item]:
        """Sends what the flow asks for, again where that is safe, and gives its items as they come."""
        attempts = Attempts(self.retries, self.url)
        while (call := flow.call) is not None:
            try:
                with self._http.stream(call.method, call.path, **call.sent) as response:
                    if call.accepts(response.status_code):
                        flow.begin(response.status_code, response.headers)
                        for chunk in response.iter_bytes():
                            attempts.heard(call)
                            yield from _read(flow.feed(chunk), call, response)
                        yield from _read(flow.end(), call, response)
                        attempts.succeeded()
                        pause = flow.pause_seconds
                    else:
                        pause = attempts.after_refusal(call, _whole(response, response.read()))
            except httpx.TransportError as error:
                pause = attempts.after_error(flow.call or call, error)
            time.sleep(pause)

    def healthy(self) -> bool:
        """Whether a DermaTriage server answers at all; asks once and never raises for want of one."""
        with suppress(ServerUnreachable, Refused):
            return self.answer(requests.healthy())
        return False


class AsyncClient(Connection):
    """`Client` for programs that await: one connection pool, used from one event loop."""

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(**self._settings)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def answer(self, flow: Flow[Item]) -> Item:
        """The one item of a flow."""
        [item] = [item async for item in self.stream(flow)]
        return item

    async def stream(self, flow: Flow[Item]) -> AsyncIterator[Item]:
        """As `Client.stream`; what is done with a whole answer, such as checking a bundle, is done in a thread."""
        attempts = Attempts(self.retries, self.url)
        while (call := flow.call) is not None:
            try:
                async with self._http.stream(call.method, call.path, **call.sent) as response:
                    if call.accepts(response.status_code):
                        flow.begin(response.status_code, response.headers)
                        async for chunk in response.aiter_bytes():
                            attempts.heard(call)
                            for item in _read(flow.feed(chunk), call, response):
                                yield item
                        for item in await anyio.to_thread.run_sync(list, _read(flow.end(), call, response)):
                            yield item
                        attempts.succeeded()
                        pause = flow.pause_seconds
                    else:
                        pause = attempts.after_refusal(call, _whole(response, await response.aread()))
            except httpx.TransportError as error:
                pause = attempts.after_error(flow.call or call, error)
            await anyio.sleep(pause)

    async def healthy(self) -> bool:
        """Whether a DermaTriage server answers at all; asks once and never raises for want of one."""
        with suppress(ServerUnreachable, Refused):
            return await self.answer(requests.healthy())
        return False


def _address(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ServerUnreachable(f"{url} is not the address of a server ({error})") from error


def _is_loopback(url: str) -> bool:
    host = _address(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(items: Iterable[Item], call: Call, response: httpx.Response) -> Iterator[Item]:
    """The items of an answer; one that is not of this service is a finding about the address, not about its JSON."""
    try:
        yield from items
    except (ValueError, KeyError) as error:
        raise not_ours(response.status_code, f"{call.method} {response.request.url}") from error


def _whole(response: httpx.Response, content: bytes) -> Answer:
    return Answer(response.status_code, response.headers, content)
