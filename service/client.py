"""The HTTP API as a Python object: one method a request, plain dictionaries back."""

import ipaddress
import uuid
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import httpx

Json = dict[str, Any]


class ServerUnreachable(RuntimeError):
    """Nothing answers at the address."""


class Refused(RuntimeError):
    """The server answered with a problem; `detail` is its finding, `remedy` what to do, `status` the HTTP status."""

    def __init__(self, status: int, detail: str, remedy: str) -> None:
        super().__init__(f"{detail}\n{remedy}".strip())
        self.status = status
        self.detail = detail
        self.remedy = remedy


class Client:
    """Talks to one server. Every method raises `ServerUnreachable` or `Refused`."""

    def __init__(self, url: str, *, key: str | None = None, timeout_seconds: float = 60) -> None:
        self.url = url.rstrip("/")
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        # A proxy in the environment cannot reach this machine's own loopback.
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=timeout_seconds, trust_env=not _is_loopback(self.url)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def submit(self, spec: Mapping[str, Any], key: str | None = None) -> Json:
        """Posts an experiment. The same `key` never submits it twice; without one, a new key is made."""
        return self._request("POST", "/v1/experiments", json=spec, headers={"Idempotency-Key": key or uuid.uuid4().hex})

    def experiment(self, experiment_id: str) -> Json:
        return self._request("GET", f"/v1/experiments/{experiment_id}")

    def trials(self, experiment_id: str) -> list[Json]:
        """Every trial in the order of its phases, each with its `epochs`."""
        trials: list[Json] = self._request("GET", f"/v1/experiments/{experiment_id}/trials?epochs=true")["items"]
        return trials

    def cancel(self, experiment_id: str) -> Json:
        return self._request("POST", f"/v1/experiments/{experiment_id}/cancel")

    def report(self, experiment_id: str) -> bytes:
        """One self-contained HTML file."""
        return self._send("GET", f"/v1/experiments/{experiment_id}/report").content

    def catalog(self) -> Json:
        return self._request("GET", "/v1/catalog")

    def models(self, limit: int = 50) -> list[Json]:
        """Newest first."""
        models: list[Json] = self._request("GET", f"/v1/models?limit={limit}")["items"]
        return models

    def promote(self, version: str, reason: str) -> Json:
        return self._request("POST", f"/v1/models/{version}/promote", json={"reason": reason})

    def roll_back(self, reason: str) -> Json:
        return self._request("POST", "/v1/models/rollback", json={"reason": reason})

    def predict(self, image: bytes, filename: str) -> Json:
        """Judges one encoded image (PNG, JPEG, …) with the champion."""
        return self._request("POST", "/predict", files={"file": (filename, image)})

    def has_page(self, path: str) -> bool:
        """Whether the server answers `path` with something to look at."""
        try:
            return self._http.get(path).is_success
        except httpx.HTTPError:
            return False

    def _request(self, method: str, path: str, **sent: Any) -> Json:
        answer: Json = self._send(method, path, **sent).json()
        return answer

    def _send(self, method: str, path: str, **sent: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **sent)
        except httpx.TransportError as error:
            raise ServerUnreachable(f"no DermaTriage server answers at {self.url} ({error})") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ServerUnreachable(f"{self.url} is not the address of a server ({error})") from error
        if response.is_success:
            return response
        raise _refusal(response)


def _refusal(response: httpx.Response) -> Refused:
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        problem = response.json()
        return Refused(response.status_code, problem.get("detail", problem["title"]), problem.get("remedy", ""))
    where = f"{response.request.method} {response.request.url}"
    return Refused(
        response.status_code,
        f"{where} answered {response.status_code} {response.reason_phrase}, not as DermaTriage does",
        "Check the address given by --url or DERMATRIAGE_URL.",
    )


def _is_loopback(url: str) -> bool:
    host = httpx.URL(url).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
