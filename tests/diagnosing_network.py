"""The serving graph around a tiny network that predicts diagnoses."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from models_store.scoring.probability_calibration import ProbabilityCalibration
from workers.pipeline.serving_graph import serving_graph

SIZE = 28
CALIBRATION = ProbabilityCalibration(method="platt", slope=0.8, intercept=0.5)


def diagnosing_network() -> bytes:
    """The brighter an image, the more probable are melanoma and, half as fast, basal cell carcinoma."""
    weights = [
        numpy_helper.from_array(np.array([1, 2, 3], np.int64), "axes"),
        numpy_helper.from_array(np.array([1], np.int64), "last"),
        numpy_helper.from_array(np.array([[0, 5, 0, 0, 10, 0, 0]], np.float32), "weight"),
        numpy_helper.from_array(np.array([1, -1, 2, 0, -2, 3, 0], np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("ReduceMean", ["image", "axes"], ["brightness"], keepdims=0),
        helper.make_node("Unsqueeze", ["brightness", "last"], ["features"]),
        helper.make_node("MatMul", ["features", "weight"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    outputs = [
        helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 7]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 1]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", SIZE, SIZE, 3])
    graph = helper.make_graph(nodes, "diagnosing", [image], outputs, weights)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content: bytes = serving_graph([network], CALIBRATION).SerializeToString()
    return content
