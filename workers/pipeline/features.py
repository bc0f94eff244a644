"""What a network sees before it judges: the mean of every channel behind each of its pooling layers.

Measured (docs/unlike-training.md), these tell strange images from lesions far better than the penultimate layer alone,
to which shrunk noise looks like skin: what the last layers have learnt to ignore, the first ones still show.
"""

import keras
from keras import layers

POOLINGS = (layers.MaxPooling2D, layers.AveragePooling2D)


def with_features(model: keras.Model) -> keras.Model:
    """`model` with two outputs: what it gave before, and its features, float32 (N, D).

    A network without pooling layers is described by what goes into its last layer.
    """
    means = [mean for layer in model.layers if (mean := _channel_means(layer)) is not None]
    features = means or [layers.Flatten()(model.layers[-1].input)]
    joined = layers.Concatenate()(features) if len(features) > 1 else features[0]
    return keras.Model(model.inputs[0], [model.outputs[0], joined])


def _channel_means(layer: keras.Layer) -> keras.KerasTensor | None:
    if isinstance(layer, layers.GlobalAveragePooling2D):
        return layer.output
    return layers.GlobalAveragePooling2D()(layer.output) if isinstance(layer, POOLINGS) else None
