"""The Open Inference Protocol over HTTP: the same answers, keys, limits and records as `/predict`."""

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from httpx import Response
from numpy.typing import NDArray
from starlette.testclient import TestClient

from models_store.database import Database
from models_store.datasets.labels import CLASS_NAMES
from models_store.settings import Settings
from models_store.store.storage import Storage
from service import protocols
from service.access import keys
from service.app import create_app
from service.predictions.engine.queues import Batcher, QueueFull
from service.problem_kinds import KINDS
from service.protocols.kserve.endpoints import REMEDY
from tests.diagnosing_network import diagnosing_network
from tests.service.test_predict import image

MakeModel = Callable[..., str]
INFER = "/v2/models/dermatriage/infer"
HEADER = "Inference-Header-Content-Length"


def pixels(*brightness: int) -> NDArray[np.uint8]:
    images = np.stack([np.full((28, 28, 3), each, np.uint8) for each in brightness])
    images[..., 1] //= 2
    return images


def as_json(images: NDArray[np.uint8], **more: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": list(images.shape), "datatype": "UINT8", "data": images.tolist()}
    return {"inputs": [tensor], **more}


def in_binary(client: TestClient, data: bytes, shape: list[int], datatype: str, **more: Any) -> Response:
    tensor = {"name": "image", "shape": shape, "datatype": datatype, "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return client.post(INFER, content=head + data, headers={HEADER: str(len(head))})


def outputs(answer: Response) -> dict[str, list[Any]]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def test_metadata_names_the_champion_and_its_tensors(client: TestClient, make_model: MakeModel) -> None:
    version = make_model(promote=True, network=diagnosing_network())
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for address in ("/v2/models/dermatriage", f"/v2/models/dermatriage/versions/{version}"):
        assert client.get(f"{address}/ready").json() == {"name": "dermatriage", "ready": True}
        model = client.get(address).json()
        assert (model["name"], model["versions"]) == ("dermatriage", [version])
        assert model["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28, 3]}]
        assert {"name": "diagnoses", "datatype": "FP64", "shape": [-1, 7]} in model["outputs"]
        described = {(output["name"], output["datatype"], len(output["shape"])) for output in model["outputs"]}
        answered = client.post(INFER, json=as_json(pixels(9))).json()["outputs"]
        assert {(output["name"], output["datatype"], len(output["shape"])) for output in answered} == described


def test_pixels_and_files_are_answered_as_by_predict(client: TestClient, make_model: MakeModel) -> None:
    version = make_model(promote=True, network=diagnosing_network())
    single = [client.post("/predict", files={"file": ("a.png", image(each))}).json() for each in (40, 200)]
    images = pixels(40, 200)
    encoded = b"".join(struct.pack("<I", len(file)) + file for file in (image(40), image(200)))
    flat = as_json(images)
    flat["inputs"][0]["data"] = images.ravel().tolist()
    for answer in (
        client.post(INFER, json=as_json(images)),
        client.post(INFER, json=flat),
        client.post(f"/v2/models/dermatriage/versions/{version}/infer", json=as_json(images)),
        in_binary(client, images.tobytes(), [2, 28, 28, 3], "UINT8"),
        in_binary(client, encoded, [2], "BYTES"),
    ):
        found = outputs(answer)
        for name in ("probability_malignant", "label", "threshold"):
            assert found[name] == [one[name] for one in single]
        assert found["diagnoses"] == [each["probability"] for one in single for each in one["diagnoses"]]
        assert answer.json()["model_version"] == version
        assert "not a medical device" in answer.json()["parameters"]["disclaimer"].lower()


def test_outputs_come_as_requested_and_in_binary(client: TestClient, make_model: MakeModel) -> None:
    make_model(promote=True, network=diagnosing_network())
    requested = [{"name": "label"}, {"name": "diagnoses", "parameters": {"binary_data": True}}]
    answer = client.post(INFER, json=as_json(pixels(200, 9), id="42", outputs=requested))
    length = int(answer.headers[HEADER])
    described, data = json.loads(answer.content[:length]), answer.content[length:]
    label, diagnoses = described["outputs"]
    assert (described["id"], label["data"]) == ("42", ["malignant", "benign"])
    assert diagnoses["parameters"] == {"names": ",".join(CLASS_NAMES), "binary_data_size": len(data)}
    assert np.frombuffer(data, "<f8").reshape(diagnoses["shape"]).sum(1) == pytest.approx([1, 1], abs=1e-6)

    everything = client.post(INFER, json=as_json(pixels(9), parameters={"binary_data_output": True}))
    described = json.loads(everything.content[: int(everything.headers[HEADER])])
    sizes = [output["parameters"]["binary_data_size"] for output in described["outputs"]]
    assert int(everything.headers[HEADER]) + sum(sizes) == len(everything.content)
    assert struct.pack("<I", 6) + b"benign" in everything.content


def test_each_image_is_recorded_and_warned_about(client: TestClient, make_model: MakeModel) -> None:
    version = make_model(promote=True, synthetic=True)
    found = outputs(in_binary(client, pixels(*range(1, 41)).tobytes(), [40, 28, 28, 3], "UINT8"))
    assert found["warnings"] == ["synthetic_model"] * 40
    for prediction_id, probability in zip(found["prediction_id"], found["probability_malignant"], strict=True):
        recorded = client.get(f"/v1/predictions/{prediction_id}").json()
        assert (recorded["probability"], recorded["model_version"]) == (probability, version)


def changed(**values: Any) -> dict[str, Any]:
    request = as_json(pixels(9))
    request["inputs"][0] |= values
    return request


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "inputs: Field required"),
        ({"inputs": []}, "at least 1"),
        (changed(name="x"), "there is no input 'x'"),
        (changed(datatype="FP32"), "may be UINT8 or BYTES"),
        (changed(shape=[1, 32, 32, 3]), "[N, 28, 28, 3]"),
        (changed(shape=[2, 28, 28, 3]), "2,352 values"),
        (changed(shape=[-1, 28, 28, 3]), "[N, 28, 28, 3]"),
        (changed(shape=[5000, 28, 28, 3]), "1,000 images"),
        (changed(data=[256] * 2352), "0 to 255"),
        (changed(data=["1"] * 2352), "0 to 255"),
        (changed(data=[[[1, "x" * 50_000]]]), "0 to 255"),
        (changed(data=[0.5] * 2352), "0 to 255"),
        (changed(data=None), "0 values"),
        (changed(datatype="BYTES", shape=[1], data=["a"]), "send it as binary data"),
        (changed(parameters={"binary_data_size": 5}), "0 bytes follow the JSON"),
        (as_json(pixels(9), outputs=[{"name": "y"}]), "no output 'y'"),
        (as_json(pixels(9), outputs=[{"name": "label", "parameters": {"classification": 2}}]), "classification"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_malformed_request_is_refused_in_the_protocols_format(
    client: TestClient, make_model: MakeModel, body: dict[str, Any], message: str
) -> None:
    make_model(promote=True)
    answer = client.post(INFER, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
    assert list(answer.json()) == ["error"]
    assert message in answer.json()["error"]


@pytest.mark.parametrize(
    ("data", "shape", "message"),
    [
        (b"\x01\x00\x00", [1], "within the length"),
        (b"\xff\xff\xff\xffabc", [1], "within an element"),
        (b"\x00\x00\x00\x00" * 3, [1], "3 elements"),
        (b"\x00\x00\x00\x00" * 20_000, [1], "1001 elements"),
        (b"", [0], "0 elements"),
    ],
)
def test_broken_elements_are_refused(
    client: TestClient, make_model: MakeModel, data: bytes, shape: list[int], message: str
) -> None:
    make_model(promote=True)
    answer = in_binary(client, data, shape, "BYTES")
    assert answer.status_code == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize("given", ["-1", "x", "99999", "0", "9" * 5000])
def test_wrong_length_of_the_json_is_refused(client: TestClient, make_model: MakeModel, given: str) -> None:
    make_model(promote=True)
    answer = client.post(INFER, json=as_json(pixels(9)), headers={HEADER: given})
    assert answer.status_code == 400
    assert HEADER in answer.json()["error"]


def test_refused_image_is_named_by_its_number(client: TestClient, make_model: MakeModel) -> None:
    make_model(promote=True)
    files = [image(9), image(9)[:-30]]
    answer = in_binary(client, b"".join(struct.pack("<I", len(one)) + one for one in files), [2], "BYTES")
    assert answer.status_code == 422
    assert "image 1: " in answer.json()["error"]
    assert answer.json()["error"].endswith(REMEDY)


def test_remedy_of_a_full_queue_is_to_wait(
    client: TestClient, make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_batcher: Batcher[Any, Any], _job: object) -> None:
        raise QueueFull("9 images wait already")

    make_model(promote=True)
    monkeypatch.setattr(Batcher, "submit", full)
    answer = client.post(INFER, json=as_json(pixels(9)))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["error"].endswith(KINDS["overloaded"].remedy)


def test_errors_around_the_endpoints_have_the_protocols_format(client: TestClient, make_model: MakeModel) -> None:
    assert client.get("/v2/health/ready").status_code == 503
    assert "promote" in client.post(INFER, json={}).json()["error"]
    make_model(promote=True)
    for method, address, status in (
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/dermatriage/versions/mdl_other/ready", 404),
        ("GET", "/v2/nowhere", 404),
        ("GET", INFER, 405),
        ("POST", INFER, 413),
    ):
        answer = client.request(method, address, content=b" " * 300_000 if status == 413 else None)
        assert (answer.status_code, list(answer.json())) == (status, ["error"]), address
    assert client.get("/nowhere").json()["type"]


def test_service_runs_without_the_protocol(
    settings: Settings, database: Database, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "__path__", [])
    with TestClient(create_app(settings, database=database, storage=storage)) as client:
        answer = client.get("/v2")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_keys_are_checked_as_for_predict(
    settings: Settings, database: Database, storage: Storage, make_model: MakeModel
) -> None:
    make_model(promote=True)
    guarded = create_app(settings.model_copy(update={"auth": "keys"}), database=database, storage=storage)
    with database.write() as session:
        texts = {scope: keys.create(session, scope, [scope])[1] for scope in ("read", "predict")}
    with TestClient(guarded) as client:
        assert client.get("/v2/health/live").status_code == 200
        assert client.get("/v2/health/ready").status_code == 200
        refused = client.post(INFER, json=as_json(pixels(9)))
        assert (refused.status_code, list(refused.json())) == (401, ["error"])
        for scope, statuses in {"read": (200, 403), "predict": (403, 200)}.items():
            headers = {"Authorization": f"Bearer {texts[scope]}"}
            metadata = client.get("/v2/models/dermatriage", headers=headers)
            inference = client.post(INFER, json=as_json(pixels(9)), headers=headers)
            assert (metadata.status_code, inference.status_code) == statuses
            assert "RateLimit" in inference.headers
