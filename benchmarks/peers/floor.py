"""The floor under any server of this kind: an endpoint that decodes and runs ONNX Runtime, and nothing else.

No keys, limits, checks of what is uploaded, warnings, record, metrics or log, and one fixed model.
Serve it with uvicorn; MODEL names the ONNX file and THREADS the threads of one run.
"""

import io
import os

import numpy as np
import onnxruntime
from fastapi import FastAPI, UploadFile
from PIL import Image

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(os.environ["THREADS"])
session = onnxruntime.InferenceSession(os.environ["MODEL"], options, providers=["CPUExecutionProvider"])
app = FastAPI()


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, float]:
    """Runs on the event loop: a thread would cost more than a small network takes."""
    with Image.open(io.BytesIO(await file.read())) as image:
        pixels = np.asarray(image.convert("RGB"))[np.newaxis]
    (probabilities,) = session.run(["probability_malignant"], {"image": pixels})
    return {"probability_malignant": float(probabilities[0])}
