"""The batch normalisation that trains by TensorFlow's own kernel computes what Keras' layer does."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tests.workers.pipeline.small_experiment import NUMPY_COPY
from workers.pipeline.networks.batch_normalization import BatchNormalization
from workers.pipeline.networks.building import load_model

pytestmark = pytest.mark.filterwarnings(NUMPY_COPY)

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.normal(3.0, 2.0, (6, 5, 5, 4)).astype(np.float32)
OUTER = RANDOM.normal(0.0, 1.0, IMAGES.shape).astype(np.float32)


def trained(layer: keras.Layer) -> list[NDArray[np.float32]]:
    """Output, gradients of images, scale and offset, and the moving statistics after one step."""
    layer.build(IMAGES.shape)
    layer.set_weights([np.linspace(0.5, 2.0, 4), np.linspace(-1.0, 1.0, 4), np.full(4, 0.3), np.full(4, 1.7)])
    images = tf.constant(IMAGES)
    with tf.GradientTape() as tape:
        tape.watch(images)
        output = layer(images, training=True)
        loss = tf.reduce_sum(output * OUTER)
    gradients = tape.gradient(loss, [images, *(weight.value for weight in layer.trainable_weights)])
    return [np.asarray(each) for each in (output, *gradients, *layer.non_trainable_weights)]


def test_output_gradients_and_moving_statistics_are_those_of_keras() -> None:
    expected = trained(keras.layers.BatchNormalization(epsilon=1e-3))
    found = trained(BatchNormalization(epsilon=1e-3))
    assert len(found) == 6
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_frozen_layer_keeps_its_statistics() -> None:
    layer = BatchNormalization()
    layer.build(IMAGES.shape)
    layer.trainable = False

    output = layer(IMAGES, training=True)

    np.testing.assert_allclose(output, IMAGES / np.sqrt(1 + layer.epsilon), rtol=1e-5)
    assert np.asarray(layer.moving_mean).tolist() == [0.0] * 4


def test_a_network_with_the_layer_is_saved_and_loaded(tmp_path: Path) -> None:
    inputs = keras.Input(IMAGES.shape[1:])
    model = keras.Model(inputs, BatchNormalization(name="normalization")(inputs))
    model(IMAGES, training=True)
    model.save(tmp_path / "model.keras")

    loaded = load_model(tmp_path / "model.keras")

    assert isinstance(loaded.get_layer("normalization"), BatchNormalization)
    np.testing.assert_array_equal(loaded(IMAGES), model(IMAGES))
