"""The callers of the stack: threads that submit, cancel, request predictions and promote models."""

import random
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any

import httpx

from benchmarks.attack.forged import small_png
from benchmarks.nemesis.history import History
from tests.end_to_end.stack import SPEC, Stack

EXPERIMENT = SPEC | {"architectures": ["CNN_v1", "CNN_v2"], "strategies": ["LowLR"]}
CANCELLED_SHARE = 0.15
SUBMIT_SECONDS, PREDICT_SECONDS, PROMOTE_SECONDS = 0.6, 0.1, 4.0


class Callers:
    """Each in a thread of its own, until `stop`. Accepted and answered requests go into the history at once."""

    def __init__(self, stack: Stack, history: History, models: list[str], experiments: int, seed: int) -> None:
        self._url, self._history, self._models, self._most = (
            f"http://127.0.0.1:{stack.web_port}",
            history,
            models,
            experiments,
        )
        self._seed, self._ended = seed, threading.Event()
        self.submitted = threading.Event()
        acts = (self._submit, self._predict, self._promote)
        self._threads = [threading.Thread(target=act, daemon=True) for act in acts]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)

    def _submit(self) -> None:
        """With the idempotency key, a repeated request after a lost response submits nothing twice."""
        rng = random.Random(self._seed)
        for _ in range(self._most):
            key = uuid.UUID(int=rng.getrandbits(128)).hex
            answer = self._retry(
                lambda key=key: self._post("/v1/experiments", json=EXPERIMENT, headers={"Idempotency-Key": key})
            )
            if answer is None:
                return
            experiment = answer["id"]
            self._history.add("accepted", experiment=experiment, key=key)
            if rng.random() < CANCELLED_SHARE:
                delay = rng.uniform(0, 60)
                threading.Thread(target=self._cancel, args=(experiment, delay), daemon=True).start()
            self._ended.wait(SUBMIT_SECONDS)
        self.submitted.set()

    def _cancel(self, experiment: str, delay: float) -> None:
        self._ended.wait(delay)
        if self._retry(lambda: self._post(f"/v1/experiments/{experiment}/cancel")) is not None:
            self._history.add("cancelling", experiment=experiment)

    def _predict(self) -> None:
        image = small_png()
        while not self._ended.wait(PREDICT_SECONDS):
            requested_at = time.time()
            try:
                answer = self._post("/predict", files={"file": ("a.png", image)})
            except httpx.HTTPError:
                continue
            fields = {"prediction": answer["prediction_id"], "model": answer["model_version"]}
            self._history.add("answered", **fields, requested_at=requested_at)

    def _promote(self) -> None:
        rng = random.Random(self._seed + 1)
        while not self._ended.wait(PROMOTE_SECONDS):
            try:
                self._post(f"/v1/models/{rng.choice(self._models)}/promote", json={"reason": "its turn"})
            except httpx.HTTPError:
                continue

    def _retry(self, act: Callable[[], dict[str, Any]]) -> dict[str, Any] | None:
        """Repeats a request until it is accepted; None for a client error or after `stop`."""
        while not self._ended.is_set():
            try:
                return act()
            except httpx.HTTPStatusError as refused:
                if refused.response.status_code < 500:
                    return None
            except httpx.HTTPError:
                pass
            self._ended.wait(0.2)
        return None

    def _post(self, path: str, **content: Any) -> dict[str, Any]:
        answer = httpx.post(self._url + path, timeout=15, trust_env=False, **content).raise_for_status()
        found: dict[str, Any] = answer.json()
        return found
