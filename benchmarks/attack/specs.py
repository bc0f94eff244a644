"""Absurd experiments, which the service must refuse or run without harm."""

import json
import time
from functools import partial
from typing import Any

from benchmarks.attack.findings import Attack, Finding, Turn, tally
from benchmarks.attack.target import Target

# No worker owns a GPU, so what is accepted waits and keeps nobody busy.
WAITS = {"dataset": "synthetic", "queue": "gpu"}
RUNS = {"dataset": "synthetic", "architectures": ["CNN_v1"], "strategies": [], "priority": 9}
ENDED = ("succeeded", "failed", "cancelled")
BEGUN_SECONDS, SWEPT_SECONDS, ENDED_SECONDS = 10.0, 2.0, 20.0
LONGEST = (1e300, 2e12)  # minutes; a timedelta holds 1.4e12
NUMBERS = ("Infinity", "-Infinity", "NaN", "1e400", "-1", "1" + "0" * 400, "1" * 5000)
PLACES = (
    '"limits": {"experiment_minutes": %s}',
    '"limits": {"trial_minutes": %s}',
    '"calibration": {"target_recall": %s}',
    '"calibration": {"beta": %s}',
    '"epochs": %s',
    '"seed": %s',
    '"priority": %s',
)
DEPTH, LENGTH = 100_000, 2_000_000
NESTED = ("[" * DEPTH, '{"name": ' * DEPTH, '{"dataset": "synthetic", "limits": ' + "[" * DEPTH + "]" * DEPTH + "}")
STRANGE = ("\0", "\ud800", "\udfff\ud800", "a\0b", "\ufffe", "\u202e")
STRINGS = ("name", "dataset", "weights", "queue", "promote")
LISTS = ("architectures", "class_weights", "strategies")


def numbers(target: Target) -> Finding:
    bodies = [f'{{"dataset": "synthetic", "queue": "gpu", {place % number}}}' for place in PLACES for number in NUMBERS]
    return _refused(target, bodies)


def nested(target: Target) -> Finding:
    return _refused(target, list(NESTED))


def long_strings(target: Target) -> Finding:
    word = "a" * LENGTH
    bodies = [_body(field, word) for field in STRINGS] + [_body(field, [word]) for field in LISTS]
    return _refused(target, [*bodies, _body(word, 1), _body("architectures", ["CNN_v1"] * 100_000)])


def strange_strings(target: Target) -> Finding:
    """A strange name may be accepted if it comes back unchanged; it must cause no server error."""
    bodies = [_body(field, word) for word in STRANGE for field in STRINGS]
    bodies += [_body(field, [word]) for word in STRANGE for field in LISTS]
    statuses = _posted(target, [*bodies, *(_body(word, 1) for word in STRANGE)])
    return Finding(all(status == 202 or 400 <= status < 500 for status in statuses), tally(statuses))


def endless_limit(target: Target) -> Finding:
    """The sweeper must still run and stop an experiment at its time limit."""
    with target.client(target.key("read", "submit")) as client:
        answers = [client.post("/v1/experiments", json=RUNS | _limit(minutes)) for minutes in LONGEST]
        statuses = [answer.status_code for answer in answers]
        for accepted in (answer.json()["id"] for answer in answers if answer.status_code == 202):
            _wait(partial(_status, client, accepted), ("running", *ENDED), BEGUN_SECONDS)
            time.sleep(SWEPT_SECONDS)
            client.post(f"/v1/experiments/{accepted}/cancel")
        is_running = target.stack.processes["sweeper"].poll() is None
        ordinary = client.post("/v1/experiments", json=RUNS | _limit(0.02)).json()["id"]
        end = _wait(partial(_status, client, ordinary), ENDED, ENDED_SECONDS) if is_running else "not tried"
        error = client.get(f"/v1/experiments/{ordinary}").json().get("error") or {}
    held = is_running and end == "failed" and error.get("kind") == "TimeLimitExceeded"
    summary = f"{statuses}; the sweeper {'runs' if is_running else 'ENDED'}; an ordinary one past its limit: {end}"
    return Finding(held and all(400 <= status < 500 for status in statuses), summary)


ATTACKS = (
    Attack("numbers beyond all bounds in a spec", "one is accepted, or an error of ours", numbers),
    Attack("JSON nested 100,000 deep", "an error of ours", nested),
    Attack("strings of 2 MB in a spec", "one is accepted, or an error of ours", long_strings),
    Attack("NUL and lone surrogates in a spec", "an error of ours", strange_strings),
    Attack("limits.experiment_minutes 1e300", "it is accepted, or the sweeper ends", endless_limit, Turn.LAST),
)


def _body(field: str, value: Any) -> str:
    return json.dumps(WAITS | {field: value})


def _limit(minutes: float) -> dict[str, Any]:
    return {"limits": {"experiment_minutes": minutes}}


def _posted(target: Target, bodies: list[str]) -> list[int]:
    with target.client(target.key("submit"), **{"Content-Type": "application/json"}) as client:
        return [client.post("/v1/experiments", content=body.encode()).status_code for body in bodies]


def _refused(target: Target, bodies: list[str]) -> Finding:
    statuses = _posted(target, bodies)
    return Finding(all(400 <= status < 500 for status in statuses), tally(statuses))


def _status(client: Any, experiment_id: str) -> str:
    return str(client.get(f"/v1/experiments/{experiment_id}").json()["status"])


def _wait(read_status: Any, wanted: tuple[str, ...], seconds: float) -> str:
    """The first status of `wanted`, or the status after so many seconds."""
    deadline = time.monotonic() + seconds
    while (found := read_status()) not in wanted and time.monotonic() < deadline:
        time.sleep(0.2)
    return str(found)
