"""Batch normalisation that trains by TensorFlow's own kernel where that is the backend."""

import keras

from workers.pipeline.backend import fused_batch_norm


@keras.saving.register_keras_serializable("dermatriage")
class BatchNormalization(keras.layers.BatchNormalization):  # type: ignore[misc]
    """Computes what Keras' layer does, on images (N, S, S, C) faster while the network trains (docs/training.md).

    Keras 3 composes its layer of elementary operations, each of which passes over all activations. For inference, for
    other inputs and on other backends this is Keras' layer.
    """

    def call(
        self, inputs: keras.KerasTensor, training: bool | None = None, mask: keras.KerasTensor | None = None
    ) -> keras.KerasTensor:
        is_fused = keras.backend.backend() == "tensorflow" and len(inputs.shape) == 4 and inputs.dtype == "float32"
        if not (is_fused and training and self.trainable and mask is None):
            return super().call(inputs, training=training, mask=mask)
        normalised, mean, variance = fused_batch_norm(inputs, self.gamma, self.beta, self.epsilon)
        for kept, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            kept.assign(kept * self.momentum + of_batch * (1.0 - self.momentum))
        return normalised
