"""The graph that serves: an image's pixels in, the calibrated probability out, around one network or several.

image                   uint8 (N, S, S, 3), RGB as it is in the file
probability_malignant   float32 (N,), calibrated: what the threshold is compared with
features                float32 (N, D) of the first network, for the out-of-distribution score
diagnoses               float32 (N, 7), where the networks predict diagnoses: the malignant ones sum to that probability
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, compose, helper, numpy_helper

from models_store.datasets.labels import CLASS_NAMES, MALIGNANT
from models_store.files import replacing
from models_store.scoring.probability_calibration import HIGHEST, LOWEST, ProbabilityCalibration
from models_store.scoring.scorer import DIAGNOSES, FEATURES, IMAGE, PROBABILITY
from workers.pipeline.backend import FEATURES_NAME, INPUT_NAME, OUTPUT_NAME

LAST = np.iinfo(np.int64).min


def serving_graph(
    networks: Sequence[onnx.ModelProto], calibration: ProbabilityCalibration, *, views: int = 1
) -> onnx.ModelProto:
    """Joins networks, each `image` float32 (N, S, S, 3) in [0, 1] to `probabilities` (N, 2 or 7) and `features`.

    Their probabilities are averaged, over `views` (1, or 8: every rotation by a quarter turn, and its mirror image) and
    over the networks, and then calibrated. All networks take the same size and give the same classes. Raises
    onnx.checker.ValidationError.
    """
    size, classes = _sides(networks[0])
    joined = _Graph()
    joined.add("Cast", [IMAGE], "scaled/pixels", to=TensorProto.FLOAT)
    joined.add("Div", ["scaled/pixels", joined.constant("scaled/255", np.float32(255))], "scaled")
    _add_views(joined, views)
    means = [_add_network(joined, network, number, views, classes) for number, network in enumerate(networks)]
    joined.add("Mean", means, "probabilities")
    _add_answer(joined, classes, calibration)
    outputs = {PROBABILITY: ["N"], FEATURES: ["N", _features(networks[0])]}
    if classes == len(CLASS_NAMES):
        outputs[DIAGNOSES] = ["N", classes]
    graph = helper.make_graph(
        joined.nodes,
        "dermatriage",
        [helper.make_tensor_value_info(IMAGE, TensorProto.UINT8, ["N", size, size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        joined.constants,
    )
    model = helper.make_model(
        graph,
        opset_imports=networks[0].opset_import,
        ir_version=networks[0].ir_version,
        producer_name="dermatriage",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: onnx.ModelProto, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """Writes the graph, whole or not at all, with `metadata` among its `metadata_props`."""
    helper.set_model_props(model, dict(metadata or {}))
    with replacing(path) as beside:
        beside.write_bytes(model.SerializeToString())


def views_of(images: NDArray[np.uint8], views: int) -> list[NDArray[np.uint8]]:
    """The same views (N, S, S, 3) of images as the graph makes, in its order."""
    turned = [images if not swapped else images.transpose(0, 2, 1, 3) for swapped in (False, True)]
    all_views = [
        view[:, :: -1 if down else 1, :: -1 if across else 1]
        for view, down, across in product(turned, (False, True), (False, True))
    ]
    return all_views[:views]


class _Graph:
    """Nodes and constants of a graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: Sequence[str], output: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{output}:{kind}", **attributes))
        return output

    def constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _add_views(joined: _Graph, views: int) -> None:
    """`views`: those of the whole batch one after another, float32 (views · N, S, S, 3)."""
    if views == 1:
        joined.add("Identity", ["scaled"], "views")
        return
    joined.add("Transpose", ["scaled"], "turned", perm=[0, 2, 1, 3])
    made = [
        _flipped(joined, source, down, across)
        for source, down, across in product(("scaled", "turned"), (False, True), (False, True))
    ]
    joined.add("Concat", made, "views", axis=0)


def _flipped(joined: _Graph, source: str, down: bool, across: bool) -> str:
    axes = [axis for axis, flips in ((1, down), (2, across)) if flips]
    if not axes:
        return source
    name = f"{source}/flipped_{''.join(map(str, axes))}"
    limits = {"starts": [-1] * len(axes), "ends": [LAST] * len(axes), "axes": axes, "steps": [-1] * len(axes)}
    given = [joined.constant(f"{name}/{key}", np.array(value, np.int64)) for key, value in limits.items()]
    return joined.add("Slice", [source, *given], name)


def _add_network(joined: _Graph, network: onnx.ModelProto, number: int, views: int, classes: int) -> str:
    """Its probabilities, averaged over the views, float32 (N, classes)."""
    prefix = f"network_{number + 1}/"
    inner = compose.add_prefix(network, prefix).graph
    joined.add("Identity", ["views"], f"{prefix}{INPUT_NAME}")
    joined.nodes.extend(inner.node)
    joined.constants.extend(inner.initializer)
    if number == 0:
        _add_mean_of_views(joined, f"{prefix}{FEATURES_NAME}", FEATURES, views, _features(network))
    return _add_mean_of_views(joined, f"{prefix}{OUTPUT_NAME}", f"{prefix}mean", views, classes)


def _add_mean_of_views(joined: _Graph, source: str, output: str, views: int, width: int) -> str:
    if views == 1:
        return joined.add("Identity", [source], output)
    shape = joined.constant(f"{output}/shape", np.array([views, -1, width], np.int64))
    axis = joined.constant(f"{output}/axis", np.array([0], np.int64))
    joined.add("Reshape", [source, shape], f"{output}/by_view")
    return joined.add("ReduceMean", [f"{output}/by_view", axis], output, keepdims=0)


def _add_answer(joined: _Graph, classes: int, calibration: ProbabilityCalibration) -> None:
    is_malignant = np.array([name in MALIGNANT for name in CLASS_NAMES] if classes > 2 else [False, True])
    column = joined.constant("malignant/columns", is_malignant.astype(np.float32)[:, None])
    joined.add("MatMul", ["probabilities", column], "malignant/sum")
    # Rounding may raise the sum of a confident prediction above 1.
    joined.add("Min", ["malignant/sum", joined.constant("malignant/one", np.float32(1))], "malignant")
    _add_calibration(joined, calibration)
    joined.add("Squeeze", ["calibrated", joined.constant("calibrated/axis", np.array([1], np.int64))], PROBABILITY)
    if classes > 2:
        _add_diagnoses(joined, is_malignant)


def _add_calibration(joined: _Graph, calibration: ProbabilityCalibration) -> None:
    """`calibrated` (N, 1), in float64 on the way: as `ProbabilityCalibration` computes it."""
    if calibration.method == "identity":
        joined.add("Identity", ["malignant"], "calibrated")
        return
    number = {
        name: joined.constant(f"calibration/{name}", np.float64(value))
        for name, value in {
            "lowest": LOWEST,
            "highest": HIGHEST,
            "one": 1.0,
            "slope": calibration.slope,
            "intercept": calibration.intercept,
        }.items()
    }
    joined.add("Cast", ["malignant"], "calibration/p", to=TensorProto.DOUBLE)
    joined.add("Clip", ["calibration/p", number["lowest"], number["highest"]], "calibration/clipped")
    joined.add("Sub", [number["one"], "calibration/clipped"], "calibration/rest")
    joined.add("Log", ["calibration/clipped"], "calibration/log_p")
    joined.add("Log", ["calibration/rest"], "calibration/log_rest")
    joined.add("Sub", ["calibration/log_p", "calibration/log_rest"], "calibration/log_odds")
    joined.add("Mul", ["calibration/log_odds", number["slope"]], "calibration/sloped")
    joined.add("Add", ["calibration/sloped", number["intercept"]], "calibration/shifted")
    joined.add("Sigmoid", ["calibration/shifted"], "calibration/sigmoid")
    joined.add("Cast", ["calibration/sigmoid"], "calibrated", to=TensorProto.FLOAT)


def _add_diagnoses(joined: _Graph, is_malignant: NDArray[np.bool_]) -> None:
    """The malignant ones scaled so that they add up to the calibrated probability, the benign ones to the rest."""
    joined.add("Sub", [joined.constant("diagnoses/one", np.float32(1)), "calibrated"], "diagnoses/rest")
    malignant = _add_shares(joined, "diagnoses/malignant", is_malignant, "calibrated")
    benign = _add_shares(joined, "diagnoses/benign", ~is_malignant, "diagnoses/rest")
    joined.add("Add", [malignant, benign], DIAGNOSES)


def _add_shares(joined: _Graph, name: str, own: NDArray[np.bool_], whole: str) -> str:
    """`whole` (N, 1) divided among the diagnoses of `own` (7,) by their probabilities; 0 for the others, (N, 7)."""
    mask = own.astype(np.float32)[None, :]
    joined.add("Mul", ["probabilities", joined.constant(f"{name}/mask", mask)], f"{name}/own")
    # Equal shares where all of them are 0, instead of 0 divided by 0.
    joined.add("Max", [f"{name}/own", joined.constant(f"{name}/least", np.float32(1e-30) * mask)], f"{name}/some")
    axis = joined.constant(f"{name}/axis", np.array([1], np.int64))
    joined.add("ReduceSum", [f"{name}/some", axis], f"{name}/sum", keepdims=1)
    joined.add("Div", [f"{name}/some", f"{name}/sum"], f"{name}/shares")
    return joined.add("Mul", [f"{name}/shares", whole], f"{name}/scaled")


def _sides(network: onnx.ModelProto) -> tuple[int, int]:
    """The side of its images in pixels, and the number of its classes."""
    image = network.graph.input[0].type.tensor_type.shape.dim
    return image[1].dim_value, _width(network, OUTPUT_NAME)


def _features(network: onnx.ModelProto) -> int:
    return _width(network, FEATURES_NAME)


def _width(network: onnx.ModelProto, output: str) -> int:
    found = next(value for value in network.graph.output if value.name == output)
    width: int = found.type.tensor_type.shape.dim[1].dim_value
    return width
