"""Resizing inside the graph, by two matrices, so that every backend and the exported network compute the same."""

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray


@keras.saving.register_keras_serializable("dermatriage")
class Resized(keras.layers.Layer):  # type: ignore[misc]
    """Square images (N, S, S, C) resized to (N, `size`, `size`, C): bilinear, antialiased where they become smaller."""

    def __init__(self, size: int, **options: object) -> None:
        super().__init__(**options)
        self.size = size

    def call(self, images: keras.KerasTensor) -> keras.KerasTensor:
        rows = interpolation(images.shape[1], self.size)
        columns = interpolation(images.shape[2], self.size)
        # (N, S, S, C) → (N, S, C, S) · (S, size) resizes along the width, and once more along the height.
        wide = ops.matmul(ops.transpose(images, (0, 1, 3, 2)), columns)
        high = ops.matmul(ops.transpose(wide, (0, 3, 2, 1)), rows)
        return ops.transpose(high, (0, 3, 1, 2))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (shape[0], self.size, self.size, shape[3])

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "size": self.size}


def interpolation(size: int, target: int) -> NDArray[np.float32]:
    """The weight of each of `size` pixels in each of `target` pixels, float32 (size, target); columns sum to 1.

    Pixel centres are at halves; the triangle is as wide as a target pixel where that is larger than a source pixel.
    """
    scale = size / target
    reach = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale - 0.5
    distances = np.abs(np.arange(size)[:, None] - centres[None, :])
    weights = np.maximum(0.0, 1.0 - distances / reach)
    normalised: NDArray[np.float32] = (weights / weights.sum(axis=0)).astype(np.float32)
    return normalised
