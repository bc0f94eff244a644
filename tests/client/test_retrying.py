"""What is sent again, how often and when: by the rule alone, and against a real server that fails as told."""

import hashlib
import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import stamina

from dermatriage_client import Client, Refused, Retries, ServerUnreachable
from dermatriage_client.retries import retry_after_seconds
from service.embedded import probes
from tests.service.served import Scripted, ScriptedAnswer, served

Connect = Callable[..., Any]
CATALOG: dict[str, Any] = {
    "architectures": [],
    "strategies": [],
    "class_weights": [],
    "selection_policies": [],
    "calibration_policies": [],
    "presets": {},
    "datasets": [],
    "disclaimer": "for research",
}
GOOD = ScriptedAnswer(body=CATALOG)
PROBLEM = {"content-type": "application/problem+json"}
NO_CHAMPION = {
    "type": "/problems/no-champion",
    "title": "No model",
    "detail": "none",
    "remedy": "promote",
}


def failed(headers: dict[str, str]) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://127.0.0.1/v1/catalog")
    return httpx.HTTPStatusError("failed", request=request, response=httpx.Response(503, headers=headers))


def test_pauses_double_up_to_the_longest(connect: Connect) -> None:
    waited: list[float] = []
    script = Scripted([*[ScriptedAnswer(502)] * 5, GOOD])
    stamina.instrumentation.set_on_retry_hooks([lambda retry: waited.append(retry.wait_for)])

    try:
        with served(script) as url:
            connect(url, retries=Retries(most=5, first_seconds=0.05, longest_seconds=0.25)).catalog()
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)

    least = [0.05, 0.1, 0.2, 0.25, 0.25]
    assert all(low - 1e-6 <= seconds <= low + 0.051 for low, seconds in zip(least, waited, strict=True))


def test_server_that_asks_for_too_long_is_not_waited_for() -> None:
    assert Retries(longest_seconds=30).pause(failed({"Retry-After": "30"})) == 30
    assert Retries(longest_seconds=30).pause(failed({"Retry-After": "31"})) is False


@pytest.mark.parametrize(
    ("value", "seconds"), [("5", 5), ("0", 0), (" 7 ", 7), ("", None), ("soon", None), ("-1", None)]
)
def test_retry_after_is_read_as_seconds(value: str, seconds: float | None) -> None:
    assert retry_after_seconds(httpx.Response(503, headers={"retry-after": value})) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(seconds=60), usegmt=True)

    assert 50 < (retry_after_seconds(httpx.Response(503, headers={"retry-after": soon})) or 0) <= 60
    assert retry_after_seconds(httpx.Response(503, headers={"retry-after": past})) == 0


@pytest.mark.parametrize(
    "failures",
    [
        [ScriptedAnswer(502), ScriptedAnswer(503), ScriptedAnswer(504)],
        [ScriptedAnswer(429, headers={"Retry-After": "0"})],
        [ScriptedAnswer(503, NO_CHAMPION, PROBLEM | {"Retry-After": "0"})],
        [ScriptedAnswer(body=b'{"archi', breaks=True)],
    ],
    ids=["gateway", "too many", "busy", "broken off"],
)
def test_passing_failure_of_a_read_is_made_good(connect: Connect, failures: list[ScriptedAnswer]) -> None:
    script = Scripted([*failures, GOOD])

    with served(script) as url:
        catalog = connect(url).catalog()

    assert catalog.disclaimer == "for research"
    assert len(script.asked) == len(failures) + 1


def test_attempts_are_bounded(connect: Connect) -> None:
    script = Scripted([ScriptedAnswer(503)])

    with served(script) as url, pytest.raises(Refused) as refused:
        connect(url, retries=Retries(most=2, first_seconds=0.01)).catalog()

    assert refused.value.status == 503
    assert len(script.asked) == 3


@pytest.mark.parametrize(
    "failure",
    [
        ScriptedAnswer(429, headers={"Retry-After": "3600"}),
        ScriptedAnswer(503, NO_CHAMPION, PROBLEM),
        ScriptedAnswer(500),
        ScriptedAnswer(404),
    ],
    ids=["an hour", "no champion", "internal", "not found"],
)
def test_failure_that_stays_is_asked_for_once(connect: Connect, failure: ScriptedAnswer) -> None:
    script = Scripted([failure, GOOD])

    with served(script) as url, pytest.raises(Refused):
        connect(url).catalog()

    assert len(script.asked) == 1


def test_promotion_and_rollback_are_never_sent_twice(connect: Connect) -> None:
    script = Scripted([ScriptedAnswer(502)])

    with served(script) as url:
        client = connect(url)
        with pytest.raises(Refused):
            client.promote("mdl_1", "better")
        with pytest.raises(Refused):
            client.roll_back("worse")

    assert [asked["path"] for asked in script.asked] == ["/v1/models/mdl_1/promote", "/v1/models/rollback"]


def test_submission_is_sent_again_under_the_same_idempotency_key(connect: Connect) -> None:
    script = Scripted(
        [
            ScriptedAnswer(breaks=True),
            ScriptedAnswer(502),
            ScriptedAnswer(422, {"title": "no", "detail": "refused"}, PROBLEM),
        ]
    )

    with served(script) as url, pytest.raises(Refused):
        connect(url).submit({"dataset": "synthetic"})

    keys = [asked["idempotency-key"] for asked in script.asked]
    assert len(keys) == 3
    assert len(set(keys)) == 1


def test_batch_is_not_sent_again_once_a_result_was_told(connect: Connect) -> None:
    line = b'{"index":0,"file":"a.png","problem":{"status":415}}\n'
    script = Scripted([ScriptedAnswer(503), ScriptedAnswer(body=line, breaks=True), ScriptedAnswer(body=line)])

    with served(script) as url:
        results = connect(url).predict_batch([("a.png", b"a"), ("b.png", b"b")])
        first = next(results)
        with pytest.raises(ServerUnreachable):
            next(results)

    assert first.file == "a.png"
    assert len(script.asked) == 2


def test_bundle_whose_answer_breaks_off_is_downloaded_again(connect: Connect, tmp_path: Path) -> None:
    manifest, packed = b'{"files": {}}', io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("mdl_1/manifest.json", manifest)
    etag = {"ETag": f'"{hashlib.sha256(manifest).hexdigest()}"'}
    whole = packed.getvalue()
    script = Scripted(
        [ScriptedAnswer(body=whole[:20], headers=etag, breaks=True), ScriptedAnswer(body=whole, headers=etag)]
    )

    with served(script) as url:
        written = connect(url).bundle("mdl_1", tmp_path / "model.zip")

    assert written.read_bytes() == whole
    assert [file.name for file in tmp_path.iterdir()] == ["model.zip"]


def test_nothing_at_the_address_is_an_error_of_its_own(connect: Connect) -> None:
    client = connect(f"http://127.0.0.1:{probes.free()}")

    assert client.healthy() is False
    with pytest.raises(ServerUnreachable, match="no DermaTriage server answers"):
        client.catalog()


@pytest.mark.parametrize("url", ["nowhere.example", "ftp://nowhere.example", "http://[::1"])
def test_what_is_no_address_is_said_so(url: str) -> None:
    with pytest.raises(ServerUnreachable, match="is not the address of a server"), Client(url) as client:
        client.catalog()


def test_server_of_another_kind_is_told_by_its_answer(connect: Connect) -> None:
    with served(Scripted([ScriptedAnswer(body=b"<html>")])) as url, pytest.raises(Refused) as refused:
        connect(url).catalog()

    assert refused.value.kind == "not-dermatriage"
