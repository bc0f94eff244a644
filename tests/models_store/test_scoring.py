"""Images to probabilities, through a real ONNX graph small enough to compute by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from models_store.scoring.probability_calibration import ProbabilityCalibration, logit, sigmoid
from models_store.scoring.scorer import PIXELS_AT_ONCE, ImagesRefused, Scorer

SIZE = 4
CHUNK = PIXELS_AT_ONCE // SIZE**2


def a_graph(size: int | str = SIZE, input_name: str = "image", classes: int = 2) -> bytes:
    """Softmax of (0, 6 * mean of the red channel - 3): the redder, the more malignant."""
    weights = np.zeros((3, classes), dtype=np.float32)
    weights[0, 1] = 6
    bias = np.zeros(classes, dtype=np.float32)
    bias[1] = -3
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", [input_name], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("Gemm", ["mean", "weights", "bias"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        "redness",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["N", size, size, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", classes])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    serialised: bytes = model.SerializeToString()
    return serialised


def some_images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def expected(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    redness = images[..., 0].mean(axis=(1, 2)) / 255
    return np.asarray(1 / (1 + np.exp(3 - 6 * redness)))


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_every_image_gets_its_probability_whatever_the_count(count: int) -> None:
    images = some_images(count)
    probabilities = Scorer(a_graph())(images)
    assert probabilities.dtype == np.float64
    assert probabilities.shape == (count,)
    np.testing.assert_allclose(probabilities, expected(images), atol=1e-6)


@pytest.mark.parametrize(("size", "runs"), [(28, [64, 36]), (64, [12] * 8 + [4]), (256, [1] * 100)])
def test_the_larger_the_images_the_fewer_share_a_run(
    size: int, runs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer(a_graph(size=size))
    run, taken = scorer.session.run, []

    def recorded(outputs: list[str], feeds: dict[str, NDArray[np.float32]]) -> Any:
        taken.append(len(feeds["image"]))
        return run(outputs, feeds)

    monkeypatch.setattr(scorer.session, "run", recorded)

    scorer(np.zeros((100, size, size, 3), np.uint8))

    assert taken == runs


def test_a_file_scores_as_its_bytes_do(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(a_graph())
    images = some_images(3)
    np.testing.assert_array_equal(Scorer(tmp_path / "model.onnx")(images), Scorer(a_graph())(images))


def test_the_input_size_is_read_from_the_graph() -> None:
    assert Scorer(a_graph(size=7)).input_size == 7


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, SIZE, SIZE, 3), np.float32),
        np.zeros((2, SIZE + 1, SIZE + 1, 3), np.uint8),
        np.zeros((2, SIZE, SIZE), np.uint8),
        np.zeros((SIZE, SIZE, 3), np.uint8),
        np.zeros((2, 3, SIZE, SIZE), np.uint8),
        np.zeros((2, SIZE, SIZE, 4), np.uint8),
    ],
)
def test_images_the_model_cannot_take_are_refused(images: NDArray[np.uint8]) -> None:
    with pytest.raises(ImagesRefused, match=r"uint8 images of the shape \(N, 4, 4, 3\)"):
        Scorer(a_graph())(images)


@pytest.mark.parametrize("graph", [{"size": "S"}, {"input_name": "input"}, {"classes": 3}])
def test_a_graph_of_another_shape_is_refused(graph: dict[str, int | str]) -> None:
    with pytest.raises(ValueError, match="export it again"):
        Scorer(a_graph(**graph))  # type: ignore[arg-type]


def test_the_calibration_applies_after_the_network() -> None:
    images = some_images(5)
    calibration = ProbabilityCalibration(method="platt", slope=2.0, intercept=-1.0)
    calibrated, own = Scorer(a_graph(), calibration)(images), Scorer(a_graph())(images)
    np.testing.assert_array_equal(calibrated, calibration(own))
    assert not np.allclose(calibrated, own)


def test_a_graph_that_calibrates_by_itself_takes_pixels_and_is_not_calibrated_twice() -> None:
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Div", ["mean", "largest"], ["probability_malignant"]),
        ],
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("probability_malignant", TensorProto.FLOAT, ["N"])],
        [numpy_helper.from_array(np.float32(255), "largest")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    images = some_images(CHUNK + 1)
    scorer = Scorer(model.SerializeToString(), ProbabilityCalibration(method="platt", slope=2.0, intercept=-1.0))
    np.testing.assert_allclose(scorer(images), images.mean(axis=(1, 2, 3)) / 255, rtol=1e-5)


def test_temperature_divides_the_log_odds() -> None:
    halved = ProbabilityCalibration(method="temperature", slope=0.5)
    np.testing.assert_allclose(halved(np.array([0.5, 0.8])), [0.5, 2 / 3])


def test_the_map_keeps_the_order_of_float32_outputs_up_to_the_ends() -> None:
    tiny, one = np.float32(1e-45), np.float32(1)
    outputs = np.array([0, tiny, 1e-30, 1e-7, 0.5, np.nextafter(one, np.float32(0)), 1], dtype=np.float32)
    mapped = ProbabilityCalibration(method="platt", slope=1.3, intercept=-2.0)(outputs)
    assert np.all(np.diff(mapped) > 0)
    assert np.all((mapped >= 0) & (mapped <= 1))


def test_sigmoid_undoes_logit_without_overflow() -> None:
    p = np.array([1e-40, 1e-9, 0.3, 0.999])
    np.testing.assert_allclose(sigmoid(logit(p)), p, rtol=1e-12)
    assert list(sigmoid(np.array([-1e4, 1e4]))) == [0.0, 1.0]


@pytest.mark.parametrize("slope", [0.0, -1.0, float("nan"), float("inf")])
def test_a_map_that_is_not_increasing_is_refused(slope: float) -> None:
    with pytest.raises(ValueError, match="slope"):
        ProbabilityCalibration(method="temperature", slope=slope)


def test_graph_with_another_number_of_diagnoses_is_refused() -> None:
    model = onnx.load_from_string(a_graph())
    model.graph.node.append(helper.make_node("Identity", ["probabilities"], ["diagnoses"]))
    model.graph.output.append(helper.make_tensor_value_info("diagnoses", TensorProto.FLOAT, ["N", 2]))

    with pytest.raises(ValueError, match="not of 7 an image"):
        Scorer(model.SerializeToString())
