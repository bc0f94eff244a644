"""A serving framework with adaptive batching: BentoML around the same ONNX model.

`benchmarks.serving` installs BentoML into a virtual environment of its own and starts `bentoml serve`; MODEL names the
ONNX file, THREADS the threads of one run, and PROCESSES the processes. Images are decoded and judged a batch at a time.
"""

import os

import bentoml
import numpy as np
import onnxruntime
from PIL.Image import Image


@bentoml.service(workers=int(os.environ["PROCESSES"]), logging={"access": {"enabled": False}})
class Predict:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["THREADS"])
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])

    @bentoml.api(route="/predict", batchable=True, max_batch_size=32, max_latency_ms=10_000)
    def predict(self, file: list[Image]) -> list[float]:
        pixels = np.stack([np.asarray(image.convert("RGB")) for image in file])
        (probabilities,) = self.session.run(["probability_malignant"], {"image": pixels})
        return [float(probability) for probability in probabilities]
