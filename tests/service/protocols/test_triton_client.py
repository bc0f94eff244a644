"""NVIDIA's client of the Open Inference Protocol, in an environment of its own: its pins differ from ours."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from tests.service.served import served
from tests.service.test_predict import image

CLIENT = "tritonclient[http]==2.73.0"
SCRIPT = """
import json, sys
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException

client = InferenceServerClient(sys.argv[1])
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("dermatriage")
assert client.is_model_ready("dermatriage", sys.argv[2]) and not client.is_model_ready("dermatriage", "other")
(described,) = client.get_model_metadata("dermatriage")["inputs"]
pixels = np.full((2, *described["shape"][1:]), 200, np.uint8)
pixels[..., 1] //= 2
file = open(sys.argv[3], "rb").read()
found = []
for array, datatype in ((pixels, "UINT8"), (np.array([file, file], dtype=np.object_), "BYTES")):
    for binary in (True, False) if datatype == "UINT8" else (True,):
        tensor = InferInput(described["name"], list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        for outputs in (None, [InferRequestedOutput(name, binary) for name in ("probability_malignant", "label")]):
            answer = client.infer("dermatriage", [tensor], sys.argv[2], outputs, request_id="42")
            assert answer.get_response()["id"] == "42"
            labels = [str(np.asarray(one, object).item(), "utf-8") if isinstance(one, bytes) else str(one)
                      for one in answer.as_numpy("label")]
            found.append([answer.as_numpy("probability_malignant").tolist(), labels])
try:
    client.infer("dermatriage", [InferInput("wrong", [1], "BYTES").set_data_from_numpy(np.array([b"a"], object))])
except InferenceServerException as refused:
    print(json.dumps({"found": found, "refused": refused.message()}))
"""


@pytest.fixture(scope="session")
def triton_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("triton")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    subprocess.run([folder / "bin" / "pip", "--disable-pip-version-check", "-q", "install", CLIENT], check=True)
    return folder / "bin" / "python"


@pytest.mark.slow
def test_the_client_finds_the_model_and_reads_its_answers(
    app: FastAPI, make_model: Callable[..., str], triton_python: Path, tmp_path: Path
) -> None:
    version = make_model(promote=True)
    (tmp_path / "a.png").write_bytes(image(200))
    with served(app) as address:
        expected = httpx.post(f"{address}/predict", files={"file": ("a.png", image(200))}).json()
        arguments = [address.removeprefix("http://"), version, str(tmp_path / "a.png")]
        ran = subprocess.run([triton_python, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    output: dict[str, Any] = json.loads(ran.stdout)
    assert output["found"] == [[[expected["probability_malignant"]] * 2, [expected["label"]] * 2]] * 6
    assert "there is no input 'wrong'" in output["refused"]
