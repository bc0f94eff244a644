"""The Keras backend: the only module of the pipeline that selects it and uses it directly."""

import logging
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workers.pipeline import machine

Backend = Literal["tensorflow", "jax"]

INPUT_NAME = "image"
OUTPUT_NAME = "probabilities"
FEATURES_NAME = "features"
PREDICTION_BATCH = 256


class BackendAlreadyChosen(RuntimeError):
    """Keras was imported with another backend, and it cannot change it within a process."""


@dataclass(frozen=True)
class FrozenGraph:
    """A TensorFlow `GraphDef` without variables, and its input and output tensors."""

    graph_def: Any
    input_tensor: str
    output_tensor: str
    features_tensor: str


def configure(backend: Backend, seed: int, deterministic: bool = True) -> None:
    """Select the backend, set every seed, and allocate GPU memory as needed. Call it before anything imports Keras.

    `deterministic` gives the same metrics for the same seed on a CPU; it does not affect GPUs. Raises
    BackendAlreadyChosen.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = backend
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    with _stderr_on_failure_only():
        import keras
    chosen = keras.backend.backend()
    if chosen != backend:
        raise BackendAlreadyChosen(
            f"Keras already runs on {chosen} in this process, not on {backend}; "
            "call configure() before anything imports Keras, or start a new process"
        )
    if backend == "tensorflow":
        _configure_tensorflow(deterministic)
    keras.utils.set_random_seed(seed)


def describe_device() -> str:
    """`CPU`, or `GPU` and its name, as the chosen backend sees it."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        device = jax.devices()[0]
        return "CPU" if device.platform == "cpu" else f"{device.platform.upper()} {device.device_kind}"
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return f"GPU {tf.config.experimental.get_device_details(gpus[0]).get('device_name', '')}" if gpus else "CPU"


def environment() -> dict[str, str | int]:
    """Versions and device of this process, to be kept with every result it produces."""
    import keras
    import numpy

    backend = keras.backend.backend()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "numpy": numpy.__version__,
        "keras": keras.__version__,
        "backend": backend,
        "backend_version": sys.modules[backend].__version__,
        "device": describe_device(),
        "cpus": machine.cpus(),
    }


def frozen_graph(model: Any) -> FrozenGraph:
    """The inference graph of `model`, with constants for variables: from `image` to `probabilities` and `features`.

    `model` maps an image to both. Needs the TensorFlow backend. The batch size stays free; the image size is the
    model's.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    def infer(image: Any) -> Any:
        probabilities, features = model(image, training=False)
        return tf.identity(probabilities, name=OUTPUT_NAME), tf.identity(features, name=FEATURES_NAME)

    image = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name=INPUT_NAME)
    frozen = convert_variables_to_constants_v2(tf.function(infer, autograph=False).get_concrete_function(image))
    probabilities, features = (output.name for output in frozen.outputs)
    return FrozenGraph(frozen.graph.as_graph_def(), frozen.inputs[0].name, probabilities, features)


def predict(model: Any, images: NDArray[Any]) -> NDArray[np.float32]:
    """What `model` answers to each of `images` (N, S, S, 3); float32 (N, outputs)."""
    answers: NDArray[np.float32] = model.predict(**batches(images, PREDICTION_BATCH), verbose=0)
    return answers


def batches(images: NDArray[Any], batch_size: int, targets: NDArray[Any] | None = None) -> dict[str, Any]:
    """The arguments by which `fit` or `predict` passes once over `images`, and `targets`, in their order.

    Left to itself, Keras feeds TensorFlow through a pipeline that tunes itself after 10, 20, 40 ms and so on, and whose
    end waits for the next tuning: an epoch of 21 s took 41 s. This pipeline does not tune itself.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return {"x": images, "batch_size": batch_size} | ({} if targets is None else {"y": targets})
    import tensorflow as tf

    options = tf.data.Options()
    options.autotune.enabled = False
    arrays = tf.data.Dataset.from_tensor_slices(images if targets is None else (images, targets))
    return {"x": arrays.batch(batch_size).prefetch(1).with_options(options)}


def fused_batch_norm(images: Any, scale: Any, offset: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """`images` float32 (N, S, S, C) normalised by channel, and the mean and variance (C,) of this batch.

    Needs the TensorFlow backend. The variance divides by the number of pixels, as Keras does, and not by one less.
    """
    import tensorflow as tf

    normalised, mean, unbiased, *_ = tf.raw_ops.FusedBatchNormV3(
        x=images, scale=scale, offset=offset, mean=[], variance=[], epsilon=epsilon, is_training=True
    )
    pixels = tf.cast(tf.size(images) / tf.size(mean), tf.float32)
    return normalised, mean, unbiased * (pixels - 1) / pixels


def _configure_tensorflow(deterministic: bool) -> None:
    with _stderr_on_failure_only():
        import tensorflow as tf
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, True)
    if deterministic and not gpus:
        tf.config.experimental.enable_op_determinism()


@contextmanager
def _stderr_on_failure_only() -> Iterator[None]:
    # TensorFlow's C++ side writes a few lines while it is imported, before it honours TF_CPP_MIN_LOG_LEVEL. They are
    # dropped if the import succeeds and shown if it fails.
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
