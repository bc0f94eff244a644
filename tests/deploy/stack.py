"""One deployment by Docker Compose, driven as its operator and its users would."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

UP_SECONDS = 300
BACK_SECONDS = 60
Answer = TypeVar("Answer")


class CommandFailed(AssertionError):
    """A command of the operator did not end well."""


@dataclass
class Stack:
    """A clone of the repository and the deployment started from it."""

    clone: Path
    project: str
    port: int
    key: str = ""

    def compose(self, *words: str, timeout: float = 900) -> str:
        """`docker compose …` in the clone; its standard output."""
        return self.run("docker", "compose", "--progress", "plain", *words, timeout=timeout)

    def run(self, *words: str, timeout: float = 900) -> str:
        ended = subprocess.run(
            words, cwd=self.clone, env=self._environment(), capture_output=True, text=True, timeout=timeout
        )
        if ended.returncode:
            raise CommandFailed(f"{' '.join(words)} ended with {ended.returncode}:\n{ended.stdout}\n{ended.stderr}")
        return ended.stdout

    def up(self, *words: str) -> None:
        self.compose("up", "--detach", "--wait", "--wait-timeout", str(UP_SECONDS), *words)

    def build(self, *services: str) -> None:
        self.compose("build", *services, timeout=1800)

    def down(self, *words: str) -> None:
        self.compose("--profile", "gpu", "--profile", "monitoring", "down", "--remove-orphans", *words)

    def kill(self, container: str) -> None:
        self.run("docker", "kill", "--signal", "KILL", container)

    def containers(self, service: str) -> list[str]:
        return self.compose("ps", "--quiet", service).split()

    def in_database(self, query: str) -> str:
        """The answer of PostgreSQL itself, one line a row."""
        return self.compose(
            *("exec", "-T", "postgres", "psql", "--username=dermatriage", "--no-align", "--tuples-only"),
            *("--set=ON_ERROR_STOP=1", "--command", query),
        ).strip()

    def seconds_of_the_first_epoch(self, trial_id: str) -> str:
        """With every digit: a trial that goes on tells it again as it was, one that begins anew measures another."""
        return self.in_database(f"SELECT seconds FROM epochs WHERE trial_id = '{trial_id}' AND number = 1")

    def make_key(self) -> None:
        """The first key, as docs/operations.md makes it."""
        scopes = [word for scope in ("read", "predict", "submit", "admin") for word in ("--scope", scope)]
        self.key = self.dermatriage("keys", "create", "tests", *scopes).strip()

    def dermatriage(self, *words: str) -> str:
        return self.compose("exec", "-T", "web", "dermatriage", *words)

    def get(self, path: str) -> Any:
        return self.ask("GET", path)

    def post(self, path: str, **request: Any) -> Any:
        return self.ask("POST", path, **request)

    def ask(self, method: str, path: str, **request: Any) -> Any:
        """Asks until the service is back; an answer that is neither success nor worth another try is a failure."""
        deadline = time.monotonic() + BACK_SECONDS
        while True:
            try:
                response = self._request(method, path, **request)
                if response.status_code < 500 or time.monotonic() > deadline:
                    assert response.is_success, response.text
                    return response.json()
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def submit(self, **spec: Any) -> str:
        identifier: str = self.post("/v1/experiments", json=spec)["id"]
        return identifier

    def experiment(self, identifier: str) -> dict[str, Any]:
        return dict(self.get(f"/v1/experiments/{identifier}"))

    def trials(self, identifier: str) -> list[dict[str, Any]]:
        return list(self.get(f"/v1/experiments/{identifier}/trials")["items"])

    def wait_until(self, true: Callable[[], Answer | None], what: str, seconds: float) -> Answer:
        deadline = time.monotonic() + seconds
        while not (answer := true()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {seconds:.0f} s: {what}\n{self.log()}")
            time.sleep(1)
        return answer

    def wait_for_end(self, identifier: str, seconds: float = 600) -> dict[str, Any]:
        """The experiment once it ended, whichever way."""
        self.wait_until(
            lambda: self.experiment(identifier)["status"] in ("succeeded", "failed", "cancelled"),
            f"the end of {identifier}",
            seconds,
        )
        return self.experiment(identifier)

    def wait_for_success(self, identifier: str, seconds: float = 600) -> dict[str, Any]:
        ended = self.wait_for_end(identifier, seconds)
        errors = [(trial["name"], trial["error"]) for trial in self.trials(identifier) if trial["error"]]
        assert ended["status"] == "succeeded", (ended["status"], ended["error"], errors)
        return ended

    def running_trial(self, identifier: str) -> dict[str, Any] | None:
        """A trial of the experiment that is training right now."""
        training = (trial for trial in self.trials(identifier) if trial["status"] == "running" and trial["epochs_done"])
        return next(training, None)

    def predict(self, image: bytes) -> dict[str, Any]:
        return dict(self.post("/predict", files={"file": ("lesion.png", image, "image/png")}))

    def browse(self, address: str) -> httpx.Response:
        """What a browser that was given the key gets, wherever it is sent to."""
        url = httpx.URL(f"http://127.0.0.1:{self.port}").join(address)
        return httpx.get(url, headers=self._headers(), timeout=20, trust_env=False, follow_redirects=True)

    def log(self) -> str:
        return self.compose("logs", "--no-color", "--tail", "40")

    def printed(self, service: str) -> list[str]:
        """Every line of the service's container, which may have ended."""
        [container] = self.compose("ps", "--all", "--quiet", service).split()
        ended = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True, timeout=60)
        return (ended.stdout + ended.stderr).splitlines()

    def write_settings(self, **settings: str) -> None:
        """Appends to .env; where a name appears twice the last one counts."""
        with (self.clone / ".env").open("a") as file:
            file.writelines(f"{name}={value}\n" for name, value in settings.items())

    def _request(self, method: str, path: str, **request: Any) -> httpx.Response:
        url = f"http://127.0.0.1:{self.port}{path}"
        return httpx.request(method, url, headers=self._headers(), timeout=20, trust_env=False, **request)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "COMPOSE_PROJECT_NAME": self.project}
