"""What each ImageNet base expects of its input, done inside the graph with layers that Keras itself ships."""

import keras
from keras import layers

from models_store.catalog import Base

# Channel means of ImageNet in the order blue, green, red, as keras.applications subtracts them for ResNet50 and VGG16.
BGR_MEAN = (103.939, 116.779, 123.68)
PREPROCESSED = "preprocessed"


def preprocess(images: keras.KerasTensor, base: Base) -> keras.KerasTensor:
    """Turn RGB in [0, 1], (N, S, S, 3), into the input of `base`; the last layer is named `preprocessed`.

    ResNet50 and VGG16 take BGR in 0-255 minus the ImageNet mean. EfficientNetB0 takes RGB in 0-255, which it rescales
    by itself.
    """
    if base == "EfficientNetB0":
        return layers.Rescaling(255.0, name=PREPROCESSED)(images)
    bgr = keras.ops.take(images, [2, 1, 0], axis=-1)
    return layers.Rescaling(255.0, offset=[-mean for mean in BGR_MEAN], name=PREPROCESSED)(bgr)
