"""Tensors in requests and answers: as JSON, or as bytes after it with the extension for binary tensor data.

https://github.com/kserve/open-inference-protocol and the extension `binary_tensor_data` of Triton.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field, ValidationError

HEADER = "Inference-Header-Content-Length"
# Parsed JSON takes up to twenty times its size in memory.
MAX_JSON_BYTES = 4 * 2**20
MAX_OUTPUTS = 16


class Malformed(ValueError):
    """A request that breaks the protocol."""


class InputTensor(BaseModel):
    name: str = Field(max_length=100)
    shape: list[int] = Field(min_length=1, max_length=4)
    datatype: str = Field(max_length=10)
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class RequestedOutput(BaseModel):
    name: str = Field(max_length=100)
    parameters: dict[str, Any] = {}


class InferenceRequest(BaseModel):
    id: str | None = Field(None, max_length=200)
    parameters: dict[str, Any] = {}
    inputs: list[InputTensor] = Field(min_length=1, max_length=1)
    outputs: list[RequestedOutput] | None = Field(None, max_length=MAX_OUTPUTS)

    def is_binary(self, output: RequestedOutput) -> bool:
        default = self.parameters.get("binary_data_output", False)
        return bool(output.parameters.get("binary_data", default))


@dataclass(frozen=True)
class OutputTensor:
    """`values` are float64 of the datatype `FP64`, or texts of the datatype `BYTES`."""

    name: str
    shape: list[int]
    datatype: str
    values: Sequence[float | str]
    parameters: dict[str, str] | None = None

    def in_bytes(self) -> bytes:
        if self.datatype == "FP64":
            return np.asarray(self.values, "<f8").tobytes()
        encoded = [str(value).encode() for value in self.values]
        return b"".join(struct.pack("<I", len(value)) + value for value in encoded)


def read(body: bytes, json_bytes: int | None) -> tuple[InferenceRequest, bytes]:
    """The request, and the binary data of its only input, empty if the data is in the JSON. Raises `Malformed`."""
    text = body if json_bytes is None else body[:json_bytes]
    if json_bytes is not None and not 0 < json_bytes <= len(body):
        raise Malformed(f"{HEADER} is {json_bytes} and the body has {len(body)} bytes")
    if len(text) > MAX_JSON_BYTES:
        raise Malformed(f"its JSON has {len(text):,} bytes, more than {MAX_JSON_BYTES:,}; send binary tensors")
    try:
        request = InferenceRequest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise Malformed(f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}") from None
    rest = body[len(text) :]
    (tensor,) = request.inputs
    declared = tensor.parameters.get("binary_data_size", 0)
    if declared != len(rest):
        raise Malformed(f"{len(rest):,} bytes follow the JSON, which is not the binary_data_size of {tensor.name}")
    return request, rest


def pixels(tensor: InputTensor, data: bytes, size: int) -> NDArray[np.uint8]:
    """The images of a UINT8 tensor, (N, S, S, 3). Raises `Malformed`."""
    if len(tensor.shape) != 4 or tensor.shape[1:] != [size, size, 3] or tensor.shape[0] < 1:
        raise Malformed(f"{tensor.name} has the shape {tensor.shape}; the model takes [N, {size}, {size}, 3]")
    if tensor.data is not None:
        data = _in_bytes(tensor.data)
    if len(data) != prod(tensor.shape):
        raise Malformed(f"{tensor.name} has {len(data):,} values, and its shape has {prod(tensor.shape):,}")
    return np.frombuffer(data, np.uint8).reshape(tensor.shape)


def files(tensor: InputTensor, data: bytes, most: int) -> list[bytes]:
    """The elements of a BYTES tensor, at most `most`. Raises `Malformed`."""
    if tensor.data is not None:
        raise Malformed(f"{tensor.name} is BYTES in JSON, which holds no image; send it as binary data")
    found: list[bytes] = []
    at = 0
    while at < len(data) and len(found) <= most:
        if len(data) < at + 4:
            raise Malformed(f"{tensor.name} ends within the length of an element")
        end = at + 4 + struct.unpack_from("<I", data, at)[0]
        if end > len(data):
            raise Malformed(f"{tensor.name} ends within an element")
        found.append(data[at + 4 : end])
        at = end
    if len(found) != prod(tensor.shape) or not found:
        raise Malformed(f"{tensor.name} has {len(found)} elements and the shape {tensor.shape}")
    return found


def write(answer: dict[str, Any], outputs: Sequence[tuple[OutputTensor, bool]]) -> tuple[bytes, int | None]:
    """The body of an answer, and how many bytes of it are JSON where binary data follows."""
    described, binary = [], []
    for tensor, is_binary in outputs:
        shown: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
        parameters: dict[str, Any] = dict(tensor.parameters or {})
        if is_binary:
            binary.append(tensor.in_bytes())
            parameters["binary_data_size"] = len(binary[-1])
        else:
            shown["data"] = list(tensor.values)
        described.append(shown | ({"parameters": parameters} if parameters else {}))
    text = json.dumps(answer | {"outputs": described}).encode()
    return text + b"".join(binary), len(text) if binary else None


def _in_bytes(data: list[Any]) -> bytes:
    """Row-major values 0 to 255 of a flat or nested list."""
    try:
        while data and isinstance(data[0], list):
            data = list(chain.from_iterable(data))
        return bytes(data)
    except (TypeError, ValueError):
        raise Malformed("the values of a UINT8 tensor are whole numbers from 0 to 255") from None
