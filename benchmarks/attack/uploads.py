"""Small or many uploads that cost the service much memory or time."""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import httpx

from benchmarks.attack import forged, wire
from benchmarks.attack.findings import Attack, Finding, Turn, tally
from benchmarks.attack.target import Target

MAX_GROWTH_MB = 300.0
MAX_GROWTH_FOR_NOTHING_MB = 100.0
MAX_SECONDS = 10.0
TOGETHER = 150
ABANDONED = 300
MAX_DELAY_SECONDS = 3.0
ARCHIVES, MEMBERS = 25, 40
VALID = (partial(forged.blank_png, 1, 40_000_000), partial(forged.blank_png, 8000, 5000))
MEMORY = f"memory grows by more than {MAX_GROWTH_MB:.0f} MB"


def judge(make: Callable[[], bytes], most_mb: float, target: Target) -> Finding:
    """One image; whatever the answer, it must cost neither much memory nor much time."""
    content, started = make(), time.monotonic()
    status, grown = target.peak(partial(_predict, target, target.key("predict"), content))
    seconds = time.monotonic() - started
    held = grown <= most_mb and seconds <= MAX_SECONDS and status in (200, 413, 415, 422)
    return Finding(held, f"{len(content):,} bytes: {status}, {grown:+,.0f} MB at the peak, {seconds:.1f} s")


def short_pngs(target: Target) -> Finding:
    key = target.key("predict")
    seen = {name: _predict(target, key, content) for name, content in forged.short_pngs().items()}
    summary = ", ".join(f"{name}: {status}" for name, status in seen.items())
    return Finding(all(status in (415, 422) for status in seen.values()), summary)


def many_large(target: Target) -> Finding:
    """All at once; each may be answered or refused with 503, but they must not all be in memory."""
    request = wire.upload(target.predict, target.key("predict"), forged.large_bmp())
    with ThreadPoolExecutor(TOGETHER) as senders:
        send = partial(wire.exchange, target.port, request, patience=60.0)
        received, grown = target.peak(lambda: list(senders.map(lambda _: send(), range(TOGETHER))))
    statuses = [wire.statuses(each)[0] if wire.statuses(each) else "no answer" for each in received]
    held = grown <= MAX_GROWTH_MB and 200 in statuses and 500 not in statuses
    return Finding(held, f"{grown:+,.0f} MB at the peak; {tally(statuses)}")


def abandoned(target: Target) -> Finding:
    """Heatmaps whose clients have disconnected; the next caller, with another key, must not wait for them."""
    path = f"{target.predict}?explain=true"
    request = wire.upload(path, target.key("predict"), forged.small_png())
    with ExitStack() as waiting:
        for _ in range(ABANDONED):
            connection = waiting.enter_context(socket.create_connection((wire.LOCAL, target.port), 5))
            connection.sendall(request)
        time.sleep(1)  # they are read and wait for their turn
    started = time.monotonic()
    status = _predict(target, target.key("predict"), forged.small_png(), path)
    seconds = time.monotonic() - started
    return Finding(status == 200 and seconds <= MAX_DELAY_SECONDS, f"the next heatmap: {status} after {seconds:.1f} s")


def batch_of_zips(make: Callable[[int, bytes], bytes], target: Target) -> Finding:
    archive = make(MEMBERS, forged.packable_bmp())
    files = [("files", (f"{number}.zip", archive)) for number in range(ARCHIVES)]
    started, lines, status = time.monotonic(), 0, 0
    try:
        with (
            target.client(target.key("predict")) as client,
            client.stream("POST", "/v1/predict/batch", files=files) as answer,
        ):
            status = answer.status_code
            for part in answer.iter_raw():
                lines += part.count(b"\n")
                if time.monotonic() - started > MAX_SECONDS:
                    break
    except httpx.TransportError:
        status = 0  # cut off
    seconds = time.monotonic() - started
    held = seconds <= MAX_SECONDS and 0 < status < 500
    return Finding(held, f"{ARCHIVES} x {len(archive):,} bytes: {status}, {lines:,} lines in {seconds:.1f} s")


ATTACKS = (
    Attack(
        "PNG of 69 bytes, 1 x 40,000,000",
        f"memory grows by more than {MAX_GROWTH_FOR_NOTHING_MB:.0f} MB",
        partial(judge, forged.claiming_png, MAX_GROWTH_FOR_NOTHING_MB),
        Turn.ALONE,
    ),
    Attack("the same, valid", MEMORY, partial(judge, VALID[0], MAX_GROWTH_MB), Turn.ALONE),
    Attack("valid PNG, 8000 x 5000", MEMORY, partial(judge, VALID[1], MAX_GROWTH_MB), Turn.ALONE),
    Attack("PNG whose data ends early", "it is judged", short_pngs),
    Attack(f"{TOGETHER} uploads of 10 MB at once", MEMORY, many_large, Turn.ALONE),
    Attack(f"{ABANDONED} heatmaps, abandoned", f"the next caller waits {MAX_DELAY_SECONDS:g} s", abandoned, Turn.ALONE),
    Attack(
        "batch of zips, all entries one file",
        f"over {MAX_SECONDS:g} s, or an error of ours",
        partial(batch_of_zips, forged.overlapping_zip),
        Turn.ALONE,
    ),
    Attack(
        "batch of zips, entries quoting entries",
        f"over {MAX_SECONDS:g} s, or an error of ours",
        partial(batch_of_zips, forged.quoting_zip),
        Turn.ALONE,
    ),
)


def _predict(target: Target, key: str, content: bytes, path: str | None = None) -> int | str:
    try:
        with target.client(key) as client:
            return client.post(path or target.predict, files={"file": ("lesion.png", content)}).status_code
    except httpx.TransportError as broken:
        return type(broken).__name__
