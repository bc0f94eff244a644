"""Photographs of imagined lesions: a view of each, drawn for all images of a batch at once."""

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.appearance import HARMONICS, Floats, Lesions

SENSOR_NOISE = 5.0
MOST_HAIRS = 3


def photograph(lesions: Lesions, image_size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw one view of each of the L lesions: uint8 (L, size, size, 3).

    A view has its own position, rotation, lighting, hairs and noise, so two views of one lesion differ.
    """
    count = len(lesions.colour)
    grid = ((np.arange(image_size) + 0.5) / image_size * 2 - 1).astype(np.float32)
    y, x = _viewed_from(grid, lesions, rng)
    inside = _mask(x, y, lesions)
    lesion = lesions.colour[:, None, None, :] + (lesions.variegation * _patches(x, y, lesions))[..., None]
    skin = lesions.skin[:, None, None, :]
    image = skin + inside[..., None] * (lesion - skin)
    image *= (1 - 0.55 * _hairs(grid, count, rng))[..., None]
    image *= rng.normal(1, 0.06, (count, 1, 1, 1)).astype(np.float32)
    image += SENSOR_NOISE * rng.standard_normal(image.shape, dtype=np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _viewed_from(grid: Floats, lesions: Lesions, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return y and x, each (L, size, size), in the lesion's own turned, shifted and stretched coordinates."""
    count = len(lesions.colour)
    angle = rng.uniform(0, 2 * np.pi, (count, 1, 1)).astype(np.float32)
    shift_y, shift_x = rng.normal(0, 0.1, (2, count, 1, 1)).astype(np.float32)
    y, x = grid[None, :, None] - shift_y, grid[None, None, :] - shift_x
    turned_y = np.cos(angle) * y - np.sin(angle) * x
    turned_x = np.sin(angle) * y + np.cos(angle) * x
    return turned_y * lesions.elongation, turned_x


def _mask(x: Floats, y: Floats, lesions: Lesions) -> Floats:
    """Return 1 inside the lesion, 0 on the skin, between them across the soft border; (L, size, size)."""
    direction = np.arctan2(y, x)
    ripple = np.zeros_like(direction)
    for index, harmonic in enumerate(HARMONICS):
        amplitude, phase = lesions.border[:, 0, index, None, None], lesions.border[:, 1, index, None, None]
        ripple += amplitude * np.cos(harmonic * direction + phase)
    border = lesions.radius * (1 + lesions.irregularity * ripple)
    mask: Floats = 0.5 * (1 + np.tanh((border - np.hypot(x, y)) / (2 * lesions.softness)))
    return mask


def _patches(x: Floats, y: Floats, lesions: Lesions) -> Floats:
    """Return darker and lighter patches between -1 and 1; (L, size, size)."""
    waves = np.zeros_like(x)
    for across, down, phase in lesions.patches.transpose(1, 2, 0)[..., None, None]:
        waves += np.sin(across * x + down * y + phase)
    return np.tanh(waves)


def _hairs(grid: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Return 1 on up to three straight hairs, 0 elsewhere; (L, size, size)."""
    hairs = np.zeros((count, len(grid), len(grid)), np.float32)
    for _ in range(MOST_HAIRS):
        angle = rng.uniform(0, np.pi, (count, 1, 1)).astype(np.float32)
        offset = rng.uniform(-1, 1, (count, 1, 1)).astype(np.float32)
        present = rng.random((count, 1, 1)) < 0.15
        distance = np.cos(angle) * grid[None, :, None] + np.sin(angle) * grid[None, None, :] - offset
        hairs = np.maximum(hairs, present * np.exp(-np.square(distance / 0.03)))
    return hairs
