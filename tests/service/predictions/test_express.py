"""The faster path gives the answers of the general one, and accepts no form that it would read differently."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from service.predictions.express import MAX_BYTES, only_file

PLAIN = "multipart/form-data; boundary=xYz"
HEAD = 'Content-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png\r\n'


def image() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((28, 28, 3), (150, 90, 80), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def form(content: bytes = b"PIXELS", head: str = HEAD, end: bytes = b"\r\n--xYz--\r\n") -> bytes:
    return b"--xYz\r\n" + head.encode() + b"\r\n" + content + end


@pytest.mark.parametrize(
    ("content_type", "body", "content"),
    [
        (PLAIN, form(), b"PIXELS"),
        (PLAIN, form(b""), b""),
        (PLAIN, form(b"\r\n--xY\r\n\r\n"), b"\r\n--xY\r\n\r\n"),
        (PLAIN, form(end=b"\r\n--xYz--"), b"PIXELS"),
        ('Multipart/Form-Data;boundary="xYz"', form(), b"PIXELS"),
        (PLAIN, form(head=HEAD.lower().replace("content-type: image/png\r\n", "")), b"PIXELS"),
    ],
)
def test_plain_form_is_read_to_the_byte(content_type: str, body: bytes, content: bytes) -> None:
    assert only_file(content_type, body) == content


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", form()),
        ("multipart/form-data", form()),
        ('multipart/form-data; boundary="xYz', form()),
        ("multipart/form-data; charset=utf-8; boundary=xYz", form()),
        ("multipart/form-data; boundary=other", form()),
        (PLAIN, b""),
        (PLAIN, b"preamble\r\n" + form()),
        (PLAIN, form(end=b"")),
        (PLAIN, form(end=b"\r\n--xYz--\r\nepilogue")),
        (PLAIN, form(end=b"\r\n--xYz\r\n") + form()[7:]),
        (PLAIN, form(head=HEAD.replace('"file"', '"files"'))),
        (PLAIN, form(head='Content-Disposition: form-data; name="file"\r\n')),
        (PLAIN, form(head=HEAD.replace("a.png", ""))),
        (PLAIN, form(head=HEAD.replace("a.png", r"a\".png"))),
        (PLAIN, form(head=HEAD + "Content-Transfer-Encoding: base64\r\n")),
        (PLAIN, form(head=HEAD.replace('; filename="a.png"', "; filename*=utf-8''a.png; filename=\"a.png\""))),
    ],
)
def test_any_other_form_takes_the_general_path(content_type: str, body: bytes) -> None:
    assert only_file(content_type, body) is None


def general(client: TestClient, content: bytes) -> Any:
    """A second field makes the form one for the general parser."""
    return client.post("/predict", files={"file": ("a.png", content)}, data={"note": "second field"})


def test_both_paths_give_the_same_answer(client: TestClient, make_model: Callable[..., str]) -> None:
    make_model(promote=True, synthetic=True)
    short, long = client.post("/predict", files={"file": ("a.png", image())}), general(client, image())
    assert short.headers["content-type"] == long.headers["content-type"] == "application/json"
    ids = {short.json()["prediction_id"], long.json()["prediction_id"]}
    assert len(ids) == 2
    assert list(short.json()) == list(long.json())
    assert short.json() | {"prediction_id": ""} == long.json() | {"prediction_id": ""}


@pytest.mark.parametrize("content", [b"", b"no image", image()[:-9], b"\x00" * (MAX_BYTES // 2)])
def test_both_paths_refuse_alike(client: TestClient, make_model: Callable[..., str], content: bytes) -> None:
    make_model(promote=True)
    short, long = client.post("/predict", files={"file": ("a.png", content)}), general(client, content)
    assert (short.status_code, short.json()) == (long.status_code, long.json())
    assert short.status_code in (415, 422)


def alone(client: TestClient, content: bytes, address: str = "/predict") -> Any:
    return client.post(address, content=content, headers={"Content-Type": "image/png"})


@pytest.mark.parametrize("address", ["/predict", "/v1/predict", "/predict?explain=false"])
def test_an_image_may_be_the_body_itself(client: TestClient, make_model: Callable[..., str], address: str) -> None:
    make_model(promote=True, synthetic=True)
    in_form, by_itself = general(client, image()), alone(client, image(), address)
    assert by_itself.status_code == 200
    assert in_form.json() | {"prediction_id": ""} == by_itself.json() | {"prediction_id": ""}


def test_an_image_of_any_length_arrives_whole(client: TestClient, make_model: Callable[..., str]) -> None:
    make_model(promote=True)
    noise = np.random.default_rng(0).integers(0, 255, (220, 220, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "PNG")
    content = buffer.getvalue()
    assert len(content) > MAX_BYTES
    chunks = (content[start : start + 10_000] for start in range(0, len(content), 10_000))
    announced, streamed = alone(client, content), alone(client, chunks)  # type: ignore[arg-type]
    expected = general(client, content).json()
    for answer in (announced, streamed):
        assert answer.status_code == 200
        assert answer.json() | {"prediction_id": ""} == expected | {"prediction_id": ""}


@pytest.mark.parametrize("content", [b"", b"no image", image()[:-9], b"\x00" * (MAX_BYTES + 1)])
def test_a_body_that_is_no_proper_image_is_refused_as_in_a_form(
    client: TestClient, make_model: Callable[..., str], content: bytes
) -> None:
    make_model(promote=True)
    in_form, by_itself = general(client, content), alone(client, content)
    assert (in_form.status_code, in_form.json()) == (by_itself.status_code, by_itself.json())


@pytest.mark.parametrize("content_type", ["application/json", "application/x-www-form-urlencoded", "text/plain", None])
@pytest.mark.parametrize("address", ["/predict", "/v1/predict"])
def test_a_body_that_is_neither_a_form_nor_an_image_is_refused_with_the_remedy(
    client: TestClient, address: str, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = client.post(address, content=b'{"image": "aGVsbG8="}', headers=headers)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (415, "/problems/body-not-an-image")
    assert (content_type or "no Content-Type") in problem["detail"]
    assert problem["remedy"].startswith("Send it as multipart/form-data with a field `file`, or as an image body")
