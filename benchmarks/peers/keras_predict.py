"""The simplest alternative: FastAPI around Keras' `model.predict`.

Serve it with uvicorn; MODEL names the `.keras` file and THREADS the threads of TensorFlow.
"""

import io
import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import numpy as np
import tensorflow as tf
from fastapi import FastAPI, UploadFile
from PIL import Image

from workers.pipeline.networks import building

tf.config.threading.set_intra_op_parallelism_threads(int(os.environ["THREADS"]))
tf.config.threading.set_inter_op_parallelism_threads(int(os.environ["THREADS"]))
model: keras.Model = building.load_model(os.environ["MODEL"])
app = FastAPI()


@app.post("/predict")
async def predict(file: UploadFile) -> dict[str, float]:
    with Image.open(io.BytesIO(await file.read())) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.float32)[np.newaxis] / 255
    return {"probability_malignant": float(model.predict(pixels, verbose=0)[0, 1])}
