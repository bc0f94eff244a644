"""A model to attack: its experiment is fabricated, and its network costs as much time as a small convolutional one."""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models_store.database import Database
from models_store.store import registry
from models_store.store.storage import Storage
from tests.finished_experiment import a_final_record, a_spec, store_finished
from tests.populated_service import spot_network

CHANNELS = 32


def populate(database: Database, folder: Path, models: int) -> list[str]:
    """Stores so many models in `folder`/store and makes the first of the returned versions the champion."""
    storage, final, network, versions = Storage(str(folder / "store")), a_final_record(images=200), costly_network(), []
    with database.write() as session:
        for number in range(models):
            spec = a_spec(name=f"experiment {number}")
            experiment = store_finished(session, storage, folder / f"bundle{number}", spec, final, network)
            versions.append(f"mdl_{experiment}")
        registry.promote(session, versions[0], actor="local", reason="to be attacked")
    return versions


def costly_network() -> bytes:
    """The network of the tests' fixtures, and two convolutions whose result is always 0 added to what it sees."""
    plain = onnx.load_from_string(spot_network()).graph
    weights = {
        "first": np.zeros((CHANNELS, 3, 3, 3), np.float32),
        "second": np.zeros((CHANNELS, CHANNELS, 3, 3), np.float32),
    }
    added = [
        helper.make_node("Transpose", ["image"], ["channels"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["channels", "first"], ["edges"], pads=[1] * 4),
        helper.make_node("Conv", ["edges", "second"], ["shapes"], pads=[1] * 4),
        helper.make_node("ReduceMean", ["shapes", "axes"], ["nothing"], keepdims=0),
        helper.make_node("Add", ["mean", "nothing"], ["laden"]),
    ]
    multiply, total, unsqueeze, *rest = plain.node
    unsqueeze.input[0] = "laden"
    known = [*plain.initializer, *(numpy_helper.from_array(each, name) for name, each in weights.items())]
    nodes = [multiply, total, *added, unsqueeze, *rest]
    graph = helper.make_graph(nodes, "costly", plain.input, plain.output, known)
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    return content
