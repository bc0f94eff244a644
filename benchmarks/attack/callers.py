"""Callers with a false identity: many addresses, a foreign origin, another key, a revoked key."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor

import httpx

from benchmarks.attack.findings import Attack, Finding, Turn, tally
from benchmarks.attack.target import REQUESTS_PER_MINUTE, Target

REQUESTS = REQUESTS_PER_MINUTE + 200
SESSIONS = 60
STREAM_SECONDS = 8.0
SPEC = {"dataset": "synthetic", "queue": "gpu"}


def forwarded(target: Target) -> Finding:
    """One address that claims another X-Forwarded-For with each request."""
    with target.client() as client:
        for number in range(REQUESTS):
            address = f"203.0.113.{number % 250}, 198.51.100.{number // 250}"
            status = client.get("/v1/experiments", headers={"X-Forwarded-For": address}).status_code
            if status == 429:
                break
    logged = "203.0.113." in target.log() or "198.51.100." in target.log()
    shows = "SHOWS" if logged else "does not show"
    summary = f"{status} after {number + 1:,} requests; the log {shows} such an address"
    return Finding(status == 429 and not logged, summary)


def foreign_sign_in(target: Target) -> Finding:
    """A form on another site, in a browser that does not send Sec-Fetch-Site."""
    key, summary, held = target.key("read"), [], True
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{target.port + 1}"):
        with target.client(Origin=origin) as client:
            answer = client.post("/sign-in", data={"key": key, "next": "/"})
        begun = "set-cookie" in answer.headers
        held = held and not begun and 400 <= answer.status_code < 500
        summary.append(f"{origin}: {answer.status_code}{' and a cookie' if begun else ''}")
    return Finding(held, ", ".join(summary))


def basic(target: Target) -> Finding:
    """A browser would add Basic credentials to whatever any page sends."""
    shown = base64.b64encode(f"any:{target.key('read')}".encode()).decode()
    with target.client(Authorization=f"Basic {shown}") as client:
        status = client.get("/v1/experiments").status_code
    return Finding(status == 401, str(status))


def borrowed_idempotency_key(target: Target) -> Finding:
    ids = []
    for key in (target.key("submit"), target.key("submit")):
        with target.client(key, **{"Idempotency-Key": "nightly"}) as client:
            ids.append(client.post("/v1/experiments", json=SPEC).json().get("id"))
    return Finding(None not in ids and ids[0] != ids[1], "an experiment each" if ids[0] != ids[1] else "the same one")


def revoked_stream(target: Target) -> Finding:
    key = target.key("read", "submit")
    with target.client(key) as client, ThreadPoolExecutor(1) as listening:
        experiment = client.post("/v1/experiments", json=SPEC).json()["id"]
        stream = listening.submit(_seconds_streamed, target, key, experiment)
        time.sleep(1)
        target.revoke(key)
        seconds = stream.result() - 1
    ended = seconds < STREAM_SECONDS
    return Finding(ended, f"ended {seconds:.1f} s later" if ended else f"goes on after {STREAM_SECONDS:g} s")


def sessions(target: Target) -> Finding:
    """Many sessions of one key that are never signed out."""
    key, first, begun = target.key("read"), "", []
    for _ in range(SESSIONS):
        with target.client(Origin=target.url, **{"Sec-Fetch-Site": "same-origin"}) as client:
            answer = client.post("/sign-in", data={"key": key, "next": "/"})
            begun.append(answer.status_code)
            first = first or answer.headers.get("set-cookie", "").split(";")[0]
    time.sleep(2)  # until every web process applies it
    with target.client(Cookie=first) as client:
        status = client.get("/v1/experiments").status_code
    bounded = status == 401 or begun.count(303) < SESSIONS
    return Finding(bool(first) and bounded, f"sign-ins {tally(begun)}; the first session then gets {status}")


ATTACKS = (
    Attack("sign-in from a foreign origin", "a session begins", foreign_sign_in),
    Attack("Basic authentication", "it is accepted", basic),
    Attack("Idempotency-Key of another key", "its experiment is given out", borrowed_idempotency_key),
    Attack("event stream of a revoked key", f"goes on for {STREAM_SECONDS:g} s", revoked_stream),
    Attack(f"{SESSIONS} sign-ins with one key", "all sessions go on", sessions),
    Attack("X-Forwarded-For, each time another", "no limit of requests", forwarded, Turn.LAST),
)


def _seconds_streamed(target: Target, key: str, experiment: str) -> float:
    """Until the server ends it, or a second after `STREAM_SECONDS`."""
    started, address = time.monotonic(), f"{target.url}/v1/experiments/{experiment}/events"
    shown = {"Authorization": f"Bearer {key}"}
    try:
        with httpx.stream("GET", address, headers=shown, timeout=STREAM_SECONDS + 1, trust_env=False) as answer:
            answer.raise_for_status()
            for _ in answer.iter_raw():
                if time.monotonic() - started > STREAM_SECONDS + 1:
                    break
    except httpx.RemoteProtocolError:
        pass  # ended without a last chunk
    except httpx.ReadTimeout:
        return STREAM_SECONDS + 1
    return time.monotonic() - started
