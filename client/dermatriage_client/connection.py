"""What both clients share: the server's address, the API key, and the translation of httpx errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from httpx_sse import SSEError

from dermatriage_client.errors import ServerUnreachable, not_dermatriage, refusal
from dermatriage_client.requests import Call
from dermatriage_client.retries import Retries

DEFAULT_URL = "http://127.0.0.1:8000"


class Connection:
    """The server's address, the API key, the timeout and the retries.

    Raises `ServerUnreachable` for a `url` that is not an address.
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
        with self._raising():
            address = httpx.URL(self.url)
        self._settings: dict[str, Any] = {
            "base_url": address,
            "headers": {} if key is None else {"Authorization": f"Bearer {key}"},
            "timeout": timeout_seconds,
            # A proxy in the environment cannot reach this machine's own loopback.
            "trust_env": address.host not in ("localhost", "::1") and not address.host.startswith("127."),
        }

    def _bounds(self, call: Call) -> dict[str, Any]:
        return self.retries.bounds(repeatable=call.repeatable, persistent=call.persistent)

    @contextmanager
    def _raising(self) -> Iterator[None]:
        """Raises `Refused` or `ServerUnreachable` for errors of httpx."""
        try:
            yield
        except httpx.HTTPStatusError as error:
            raise refusal(error.response) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ServerUnreachable(f"{self.url} is not the address of a server ({error})") from error
        except httpx.RequestError as error:
            why = str(error) or type(error).__name__
            raise ServerUnreachable(f"no DermaTriage server answers at {self.url} ({why})") from error


@contextmanager
def reading(response: httpx.Response) -> Iterator[None]:
    """Raises `Refused` for an answer that cannot be read: the address is not that of a DermaTriage server."""
    try:
        yield
    except (ValueError, KeyError, SSEError) as error:
        raise not_dermatriage(response) from error
