"""Many images in one request: in order, one bad one never fails the others, and no archive exceeds its limits."""

import base64
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image
from starlette.testclient import TestClient

from models_store.settings import Settings
from service.predictions import batch
from service.predictions.engine.queues import AsyncMemory

MakeModel = Callable[..., str]


@pytest.fixture(autouse=True)
def champion(make_model: MakeModel) -> str:
    return make_model(promote=True)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_batch_images": 20, "max_batch_bytes": 300_000})


def image(brightness: int = 90, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((28, 28, 3), (brightness, brightness, 255 - brightness), np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def judge(client: TestClient, *files: tuple[str, bytes]) -> list[dict[str, Any]]:
    answer = client.post("/v1/predict/batch", files=[("files", file) for file in files])
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    assert [line["index"] for line in lines] == list(range(len(lines)))
    return lines


def refused(client: TestClient, content: bytes) -> str:
    answer = client.post("/v1/predict/batch", files=[("files", ("a.zip", content))])
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    return str(answer.json()["detail"])


def test_answers_come_in_order_and_one_bad_image_fails_alone(client: TestClient, champion: str) -> None:
    files = [(f"{number}.png", image(10 * number)) for number in range(18)]
    files[7] = ("seven.png", b"no image")
    files[9] = ("nine.png", image()[:-20])
    lines = judge(client, *files)
    assert [line["file"] for line in lines] == [name for name, _ in files]
    assert [line["index"] for line in lines if "problem" in line] == [7, 9]
    assert [lines[number]["problem"]["status"] for number in (7, 9)] == [415, 422]
    assert {line["prediction"]["model_version"] for line in lines if "prediction" in line} == {champion}
    alone = client.post("/predict", files={"file": ("a.png", files[3][1])}).json()
    assert lines[3]["prediction"]["probability_malignant"] == alone["probability_malignant"]


def test_zip_is_judged_member_by_member_between_other_files(client: TestClient) -> None:
    archive = zipped({"folder/": b"", "folder/a.jpg": image(kind="JPEG"), "b.txt": b"text"})
    lines = judge(client, ("first.png", image()), ("all.zip", archive), ("last.png", image()))
    assert [line["file"] for line in lines] == ["first.png", "folder/a.jpg", "b.txt", "last.png"]
    assert ["problem" in line for line in lines] == [False, False, True, False]


@pytest.mark.parametrize("name", ["../../../../tmp/slipped.png", "/tmp/slipped.png", "C:\\slipped.png", "a\x1b[2J.png"])
def test_name_in_a_zip_reaches_no_path(client: TestClient, name: str) -> None:
    (line,) = judge(client, ("a.zip", zipped({name: image()})))
    assert "prediction" in line
    assert line["file"].isprintable()
    assert not Path("/tmp/slipped.png").exists()


def test_zip_in_a_zip_is_no_image(client: TestClient) -> None:
    (line,) = judge(client, ("a.zip", zipped({"inner.zip": zipped({"a.png": image()})})))
    assert line["problem"]["status"] == 415


def test_member_that_unpacks_to_too_much_is_refused_alone(client: TestClient) -> None:
    bomb, fine = judge(client, ("a.zip", zipped({"bomb.png": b"\x00" * 50_000_000, "fine.png": image()})))
    assert bomb["problem"]["status"] == 413
    assert "prediction" in fine


def test_members_that_unpack_to_too_much_together_are_refused(client: TestClient) -> None:
    lines = judge(client, ("a.zip", zipped({f"{number}.bmp": b"\x00" * 199_999 for number in range(20)})))
    assert [line["problem"]["status"] for line in lines][-1] == 422
    assert "more than may be unpacked" in lines[-1]["problem"]["detail"]


def test_wrong_size_in_the_directory_changes_nothing(client: TestClient) -> None:
    content = zipped({"a.png": b"\x00" * 1_000_000})
    (line,) = judge(client, ("a.zip", content.replace(struct.pack("<L", 1_000_000), struct.pack("<L", 10))))
    assert "problem" in line


def test_too_many_members_are_refused(client: TestClient) -> None:
    assert "21" in refused(client, zipped({f"{number}.png": b"" for number in range(21)}))
    assert "more than 20" in refused(client, zipped({"n" * 200 + str(number): b"" for number in range(200)}))


def test_too_many_files_are_refused_beyond_the_limit(client: TestClient) -> None:
    lines = judge(client, *[("a.png", image()) for _ in range(25)])
    assert len(lines) == 21
    assert "only 20" in lines[-1]["problem"]["detail"]


def test_number_of_files_is_limited_over_all_archives_of_a_request(client: TestClient) -> None:
    half = zipped({f"{number}.png": b"" for number in range(11)})
    answer = client.post("/v1/predict/batch", files=[("files", ("a.zip", half))] * 2)
    assert (answer.status_code, "22 files, more than 20" in answer.json()["detail"]) == (422, True)


def test_unpacked_bytes_are_limited_over_all_archives_of_a_request(client: TestClient) -> None:
    half = zipped({f"{number}.bmp": b"\x00" * 199_999 for number in range(5)})
    lines = judge(client, ("a.zip", half), ("b.zip", half))
    refused_first = [line["index"] for line in lines if "may be unpacked" in line["problem"]["detail"]]
    assert refused_first == [7, 8, 9]


def test_decoding_is_limited_over_all_images_of_a_request(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 400), (200, 90, 80)).save(buffer, "PNG")
    monkeypatch.setattr(batch, "DECODED_BYTES", 3 * 650_000)  # of four bytes a pixel and the file
    archive = zipped({f"{number}.png": buffer.getvalue() for number in range(4)})
    lines = judge(client, ("a.zip", archive), ("b.zip", archive))
    assert sum("prediction" in line for line in lines) == 3
    assert {line["problem"]["status"] for line in lines if "problem" in line} == {422}
    assert "more than may be decoded; send the rest in another" in lines[-1]["problem"]["detail"]


def overlapping() -> bytes:
    """A zip whose directory lists the bytes of its only member twenty times."""
    content = zipped({"a.png": image()})
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    entries = content[start:end] * 20
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 20, 20, len(entries), start, 0)
    return content[:start] + entries + closing


def quoting() -> bytes:
    """A zip whose first member holds the second as it stands in the archive, header and all."""
    inner = zipped({"b.png": image()}, zipfile.ZIP_STORED)
    start, end = inner.index(b"PK\x01\x02"), inner.index(b"PK\x05\x06")
    outer = zipped({"a.png": inner[:start]}, zipfile.ZIP_STORED)
    outer_start, outer_end = outer.rindex(b"PK\x01\x02"), outer.rindex(b"PK\x05\x06")
    second = bytearray(inner[start:end])
    second[42:46] = struct.pack("<L", outer.index(b"PK\x03\x04", 10))
    entries = outer[outer_start:outer_end] + bytes(second)
    closing = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(entries), outer_start, 0)
    return outer[:outer_start] + entries + closing


@pytest.mark.parametrize("content", [overlapping(), quoting()], ids=["full", "quoted"])
def test_archive_whose_members_overlap_is_refused(client: TestClient, content: bytes) -> None:
    assert len(zipfile.ZipFile(io.BytesIO(content)).infolist()) > 1
    assert "overlap" in refused(client, content)


def test_memory_of_a_batch_is_released_after_every_image(app: FastAPI, client: TestClient) -> None:
    judge(client, ("a.png", image()), ("b.png", b"no image"), ("c.zip", corrupt()), ("d.png", b""))
    assert app.state.service.batch_memory._left == batch.MAX_BYTES


def test_images_of_a_batch_wait_for_memory_in_turn(client: TestClient, app: FastAPI) -> None:
    object.__setattr__(app.state.service, "batch_memory", AsyncMemory(2 * len(image())))
    assert all("prediction" in line for line in judge(client, *[("a.png", image())] * 9))


def encrypted() -> bytes:
    content = bytearray(zipped({"a.png": image()}))
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


def corrupt() -> bytes:
    content = bytearray(zipped({"a.png": image()}, zipfile.ZIP_STORED))
    content[60] ^= 255
    return bytes(content)


@pytest.mark.parametrize(
    "content", [encrypted(), corrupt(), zipped({"a.png": image()}, zipfile.ZIP_LZMA)], ids=["encrypted", "crc", "lzma"]
)
def test_member_that_cannot_be_read_is_refused_alone(client: TestClient, content: bytes) -> None:
    (line,) = judge(client, ("a.zip", content))
    assert line["problem"]["status"] == 422


@pytest.mark.parametrize("cut", [1, 10, 21, 40, 100])
def test_truncated_zip_is_refused(client: TestClient, cut: int) -> None:
    assert refused(client, zipped({"a.png": image()})[:-cut])


def test_png_that_is_also_a_zip_is_judged_as_the_png(client: TestClient) -> None:
    (line,) = judge(client, ("both.png", image() + zipped({"b.png": image(200)})))
    assert "prediction" in line


def test_batch_without_files_or_with_too_many_bytes_is_a_problem(client: TestClient) -> None:
    assert client.post("/v1/predict/batch", files={"other": ("a", b"")}).status_code == 422
    assert client.post("/v1/predict/batch", files=[("files", ("a", b"\x00" * 500_000))]).status_code == 413


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def pixel_bomb() -> bytes:
    header = struct.pack(">LLBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    text = b"key\x00\x00" + zlib.compress(b"\x00" * 80_000_000)
    return image()[:33] + chunk(b"zTXt", text) + image()[33:]


def many_frames() -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("L", (2, 2), number % 256) for number in range(10_000)]
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    return buffer.getvalue()


ATTACKS: dict[str, Callable[[], bytes]] = {
    "pixel bomb": pixel_bomb,
    "text bomb": text_bomb,
    "gif of 10,000 frames": many_frames,
    "svg with a script": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "postscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run",
    "html": lambda: b"GIF89a<script>alert(1)</script>",
    "pickle": lambda: b"\x80\x04cos\nsystem\n(S'true'\ntR.",
}


@pytest.fixture(params=sorted(ATTACKS))
def attack(request: pytest.FixtureRequest) -> Iterator[bytes]:
    return ATTACKS[request.param]()  # type: ignore[return-value]


def test_attack_is_cleanly_refused(client: TestClient, attack: bytes) -> None:
    answer = client.post("/predict", files={"file": ("a.png", attack)})
    assert answer.status_code in (413, 415, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_heatmap_is_a_png_of_224_pixels(client: TestClient) -> None:
    answer = client.post("/predict?explain=true", files={"file": ("a.png", image(120))}).json()
    explanation = answer["explanation"]
    with Image.open(io.BytesIO(base64.b64decode(explanation["png_base64"]))) as picture:
        assert (picture.format, picture.size) == ("PNG", (224, 224))
    assert explanation["milliseconds"] < 5000
