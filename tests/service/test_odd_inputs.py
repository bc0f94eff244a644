"""Text that no codec, database or calendar accepts is answered as the caller's mistake, wherever it is."""

import base64
import errno
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.datastructures import UploadFile
from starlette.testclient import TestClient

CODECS = ("punycode", "undefined", "unicode_escape", "idna", "hex", "base64", "utf-7", "nowhere", "\xff")
FORM = b'--edge\r\nContent-Disposition: form-data; name="\xff\\x"\r\n\r\n\xff\r\n--edge--\r\n'


@pytest.mark.parametrize("charset", CODECS)
@pytest.mark.parametrize("address", ["/predict", "/v1/predict/batch", "/sign-in", "/models/rollback", "/studies"])
def test_a_form_in_a_codec_that_is_no_charset_is_refused(client: TestClient, address: str, charset: str) -> None:
    for kind in ("multipart/form-data; boundary=edge", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": f"{kind}; charset={charset}".encode("latin-1")}
        answer = client.post(address, content=FORM, headers=headers)  # type: ignore[arg-type]
        assert (answer.status_code, answer.json()["type"]) == (415, "/problems/charset-unknown")


@pytest.mark.parametrize("charset", ["utf-8", "UTF8", '"utf-8"', "us-ascii", "iso-8859-1"])
def test_a_form_in_a_usual_charset_is_read(client: TestClient, charset: str) -> None:
    headers = {"Content-Type": f"multipart/form-data; boundary=edge; charset={charset}"}
    assert client.post("/v1/predict/batch", content=FORM, headers=headers).status_code == 422


@pytest.mark.both_databases
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999-14:00"])
@pytest.mark.parametrize("address", ["/v1/experiments", "/v1/models", "/"])
def test_a_cursor_whose_moment_leaves_the_calendar_is_refused(client: TestClient, address: str, moment: str) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([moment, "exp_0"]).encode()).decode().rstrip("=")
    assert client.get(address, params={"cursor": cursor}).status_code == 422


@pytest.mark.both_databases
@pytest.mark.parametrize(
    "address", ["/?text=%00", "/?text=a%00b", "/v1/experiments?cursor=%00", "/models/compare?a=%00&b=", "/studies/%00"]
)
def test_nul_in_an_address_is_refused(client: TestClient, address: str) -> None:
    assert client.get(address).status_code in (400, 422)


@pytest.mark.both_databases
@pytest.mark.parametrize("key", ["\0", "a" * 256, "", "\xff"])
def test_an_idempotency_key_that_no_database_holds_is_refused(client: TestClient, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = client.post("/v1/experiments", json={"dataset": "synthetic"}, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == 422


@pytest.mark.both_databases
@pytest.mark.parametrize("text", ["\0", "\ud800", "\udfff\ud800"])
@pytest.mark.parametrize("place", ["name", "dataset", "queue", "architectures", "class_weights", "strategies", None])
def test_text_in_a_spec_that_no_database_holds_is_refused(client: TestClient, place: str | None, text: str) -> None:
    many = place in ("architectures", "class_weights", "strategies")
    spec: dict[str, Any] = {"dataset": "synthetic"} | {text if place is None else place: [text] if many else text}
    headers = {"Content-Type": "application/json"}
    assert client.post("/v1/experiments", content=json.dumps(spec), headers=headers).status_code == 422


def test_a_full_disk_is_507_while_a_form_is_read(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(file: UploadFile, data: bytes) -> None:  # noqa: ARG001
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(UploadFile, "write", fail)
    answer = client.post("/v1/predict/batch", files={"files": ("a.png", b"x" * 1000)})
    assert (answer.status_code, answer.json()["type"]) == (507, "/problems/disk-full")
    assert "Retry-After" in answer.headers


def test_a_full_disk_is_507_anywhere_else(client: TestClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))

    monkeypatch.setattr("service.experiments.endpoints.show_experiments", fail)
    answer = client.get("/v1/experiments")
    assert (answer.status_code, answer.json()["type"]) == (507, "/problems/disk-full")
    assert str(tmp_path) not in answer.text
