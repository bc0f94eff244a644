"""The backend is chosen once, quietly, and makes training repeatable."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from workers.pipeline.backend import BackendAlreadyChosen, batches, configure, environment, frozen_graph
from workers.pipeline.export import with_features

TRAIN_TWICE = """
import json
from workers.pipeline.backend import configure, environment

def train():
    configure({backend!r}, seed=7)
    import keras, numpy as np
    images = np.random.default_rng(0).random((64, 8, 8, 3), dtype=np.float32)
    labels = np.eye(2, dtype=np.float32)[np.arange(64) % 2]
    model = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dropout(0.5),
                              keras.layers.Dense(2, activation="softmax")])
    model.compile("adam", "categorical_crossentropy")
    return model.fit(images, labels, batch_size=16, epochs=2, verbose=0).history["loss"]

print(json.dumps({{"first": train(), "second": train(), "environment": environment()}}))
"""


@pytest.mark.parametrize("backend", ["tensorflow", pytest.param("jax", marks=pytest.mark.slow)])
def test_same_seed_trains_the_same_model_and_tensorflow_is_quiet(backend: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", TRAIN_TWICE.format(backend=backend)], capture_output=True, text=True, check=False
    )

    assert run.returncode == 0, run.stderr
    if backend == "tensorflow":  # under JAX, Keras imports TensorFlow, where it is installed, later and by itself
        assert run.stderr == ""
    printed = json.loads(run.stdout)
    assert printed["first"] == printed["second"]
    assert printed["environment"]["backend"] == backend


def test_backend_cannot_change_after_keras_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KERAS_BACKEND", keras.backend.backend())
    other = "jax" if keras.backend.backend() == "tensorflow" else "tensorflow"

    with pytest.raises(BackendAlreadyChosen, match="start a new process"):
        configure(other, seed=1)


def test_environment_names_versions_and_device() -> None:
    found = environment()

    assert found["keras"] == keras.__version__
    assert found["numpy"] == np.__version__
    assert str(found["device"]).startswith(("CPU", "GPU"))
    assert int(found["cpus"]) >= 1
    assert found["backend_version"]


def test_frozen_graph_has_no_variables_and_a_free_batch_size() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])

    graph = frozen_graph(with_features(model))

    nodes = {node.name: node for node in graph.graph_def.node}
    assert not [node.op for node in nodes.values() if "Variable" in node.op]
    assert [dimension.size for dimension in nodes["image"].attr["shape"].shape.dim] == [-1, 8, 8, 3]
    assert graph.input_tensor == "image:0"


def test_batches_keep_the_order_and_come_from_a_pipeline_that_does_not_tune_itself() -> None:
    images, targets = np.arange(10, dtype=np.uint8).reshape(5, 2), np.arange(5, dtype=np.float32)

    fed = batches(images, 2, targets)["x"]

    assert fed.options().autotune.enabled is False
    assert [(x.numpy().tolist(), y.numpy().tolist()) for x, y in fed] == [
        ([[0, 1], [2, 3]], [0, 1]),
        ([[4, 5], [6, 7]], [2, 3]),
        ([[8, 9]], [4]),
    ]
