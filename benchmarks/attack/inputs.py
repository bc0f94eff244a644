"""Odd inputs of odd places: forms, cursors, searches, keys, file names; and what the answers reveal."""

import base64
import csv
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks.attack import forged, wire
from benchmarks.attack.findings import Attack, Finding, Turn, tally
from benchmarks.attack.target import Target
from tests.end_to_end.stack import REPOSITORY

OURS = "an error of ours"
PROMOTION_SECONDS, LOOKS = 2.5, 5
CHARSETS = ("punycode", "undefined", "unicode_escape", "idna", "utf-7", "hex", "\xff")
FIELD_NAMES = (b"file", b"\xff-\xfe", b"\\ud800", b"\\x", b"xn--\xff")
MOMENTS = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00", "0001-01-01T00:00:00+00:00", "x", "")
TEXTS = ("%00", "a%00b", "%ff", "%ed%a0%80", "a" * 20_000, "%25%5f")
KEYS = ("dt_\0", "dt_" + "a" * 60_000, "dt_aaaaaaaa_" + "\xff" * 32, "", "\t")
FORMULAS = ("=1+1.png", "@SUM(1).png", "+1.png", "-1.png")
LEAKS = {
    "a path": r"\bstore/|models/mdl_|\.onnx|\.json|\.md\b",
    "a URL": r"://",
    "a digest": r"(?<![0-9a-z_])[0-9a-f]{32,}",
    "a trace": r"Traceback|Error\b",
}


def charsets(target: Target) -> Finding:
    """The sender chooses the charset of a form and the names of its fields."""
    key, statuses = target.key("predict", "read"), []
    for charset in CHARSETS:
        for name in FIELD_NAMES:
            body = wire.form(forged.small_png(), name)
            kind = f"Content-Type: multipart/form-data; boundary=edge; charset={charset}"
            length = f"Content-Length: {len(body)}"
            for path in (target.predict, "/v1/predict/batch", "/sign-in"):
                head = wire.head("POST", path, wire.bearer(key), kind, length, "Connection: close")
                statuses += wire.statuses(wire.exchange(target.port, head + body)) or [0]
        kind = f"Content-Type: application/x-www-form-urlencoded; charset={charset}"
        head = wire.head("POST", "/sign-in", kind, "Content-Length: 12", "Connection: close")
        statuses += wire.statuses(wire.exchange(target.port, head + b"key=%ff%00-\\x")) or [0]
    return _no_error(statuses)


def cursors(target: Target) -> Finding:
    """Cursors like those that the service gives out, with times that no datetime can hold."""
    statuses: list[int] = []
    with target.client(target.key("read")) as client:
        for path in ("/v1/experiments", "/v1/models"):
            given = client.get(path, params={"limit": 1}).json()["next_cursor"]
            for cursor in _like(given):
                statuses.append(client.get(path, params={"limit": 1, "cursor": cursor}).status_code)
    return _no_error(statuses)


def searches(target: Target) -> Finding:
    with target.client(target.key("read")) as client:
        addresses = [f"/?{name}={text}" for text in TEXTS for name in ("text", "status", "page", "cursor")]
        return _no_error([client.get(address).status_code for address in addresses])


def keys(target: Target) -> Finding:
    """Odd keys as a bearer token, in the sign-in form, as a cookie and as an Idempotency-Key."""
    spec, statuses = b'{"dataset": "synthetic", "queue": "gpu"}', []
    posted = (wire.bearer(target.key("submit")), "Content-Type: application/json")
    for key in KEYS:
        statuses += _sent(target, "GET", "/v1/experiments", b"", f"Authorization: Bearer {key}")
        statuses += _sent(target, "GET", "/v1/experiments", b"", f"Cookie: dermatriage_session={key}")
        statuses += _sent(target, "POST", "/v1/experiments", spec, *posted, f"Idempotency-Key: {key}")
        form = str(httpx.QueryParams({"key": key * 10})).encode()
        statuses += _sent(target, "POST", "/sign-in", form, "Content-Type: application/x-www-form-urlencoded")
    return _no_error(statuses)


def readiness(target: Target) -> Finding:
    """Champions whose bundles are damaged or missing; the one before answers meanwhile and afterwards."""
    texts = []
    with target.client(target.key("admin")) as admin:
        for number, version in enumerate(target.models[1:]):
            network = target.stack.folder / "store" / "models" / version / "model.onnx"
            network.unlink() if number else network.write_bytes(b"damaged")
            admin.post(f"/v1/models/{version}/promote", json={"reason": "to be refused"}).raise_for_status()
            texts += _readiness(target)
        admin.post(f"/v1/models/{target.models[0]}/promote", json={"reason": "again"}).raise_for_status()
    seen = " ".join(texts)
    leaks = [kind for kind, pattern in LEAKS.items() if re.search(pattern, seen)]
    leaks += ["its folder"] * (str(target.stack.folder) in seen)
    return Finding(not leaks, f"shows {', '.join(leaks)}" if leaks else "a word or two for each check")


def spreadsheets(target: Target) -> Finding:
    """A file name that a spreadsheet would compute as a formula."""
    with TemporaryDirectory() as folder:
        for name in FORMULAS:
            (Path(folder) / name).write_bytes(forged.small_png())
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "DERMATRIAGE_API_KEY": target.key("predict")}
        command = [sys.executable, "-m", "service.cli", "predict", "--csv", "--url", target.url, "--", *FORMULAS]
        ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    cells = [row[0] for row in csv.reader(io.StringIO(ran.stdout))][1:]
    held = len(cells) == len(FORMULAS) and not any(cell.startswith(("=", "@", "+", "-")) for cell in cells)
    return Finding(held, f"exit code {ran.returncode}, cells {' '.join(cells) or ran.stderr[-200:]}")


def server_errors(target: Target) -> Finding:
    """Every answer of the whole run, from the log."""
    failed = {str(line["route"]) for line in _lines(target.log()) if line.get("status") == 500}
    traces = target.log().count("Traceback (most recent call last)")
    return Finding(not failed, f"500 at {', '.join(sorted(failed)) or 'no address'}; {traces} traces in the log")


ATTACKS = (
    Attack("charset of a form: punycode, undefined, …", OURS, charsets),
    Attack("cursors at both ends of time", OURS, cursors),
    Attack("NUL and more in a search", OURS, searches),
    Attack("NUL in keys, and long ones", OURS, keys),
    Attack("dermatriage predict --csv =1+1.png", "a cell begins a formula", spreadsheets),
    Attack("/readyz with champions that are refused", "shows a path, URL or digest", readiness, Turn.LAST),
)
LOG = Attack("anything of the above", "an answer is 500", server_errors)


def _no_error(statuses: list[int]) -> Finding:
    """A status of 0 means no answer."""
    return Finding(all(0 < status < 500 for status in statuses), tally(statuses))


def _sent(target: Target, method: str, path: str, body: bytes, *lines: str) -> list[int]:
    length = [f"Content-Length: {len(body)}"] if body else []
    head = wire.head(method, path, *lines, *length, "Connection: close")
    return wire.statuses(wire.exchange(target.port, head + body)) or [0]


def _like(cursor: str) -> list[str]:
    """The cursor with its time replaced; fabricated ones if it cannot be read."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except ValueError:
        parts = ["", ""]
    made = [[moment if part == parts[0] else part for part in parts] for moment in MOMENTS]
    return [base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in made]


def _readiness(target: Target) -> list[str]:
    """The answers of /readyz in the seconds in which a promotion reaches every web process."""
    texts = []
    with target.client() as client:
        for _ in range(LOOKS):
            texts.append(client.get("/readyz").text)
            time.sleep(PROMOTION_SECONDS / LOOKS)
    return texts


def _lines(log: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith("{")]
