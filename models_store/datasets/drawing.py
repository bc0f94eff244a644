"""What the synthetic generator draws: the appearance of a diagnosis, and a photograph of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.labels import CLASS_NAMES

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Appearance:
    """Tendencies of one diagnosis; lengths are fractions of half the image's side."""

    colour: tuple[float, float, float]  # RGB of the lesion, 0-255
    radius: float
    irregularity: float  # of the border
    variegation: float  # strength of darker and lighter patches, in grey levels
    softness: float  # width of the border


APPEARANCES = {
    "akiec": Appearance((196, 124, 128), 0.60, 0.12, 24, 0.14),
    "bcc": Appearance((190, 126, 138), 0.54, 0.14, 30, 0.10),
    "bkl": Appearance((164, 114, 106), 0.56, 0.14, 26, 0.07),
    "df": Appearance((186, 126, 132), 0.42, 0.06, 14, 0.16),
    "mel": Appearance((134, 86, 88), 0.66, 0.24, 40, 0.06),
    "nv": Appearance((160, 92, 84), 0.48, 0.09, 16, 0.08),
    "vasc": Appearance((158, 72, 108), 0.42, 0.08, 14, 0.06),
}

# Lesions that look like some other diagnosis: without them a small network separates the classes almost perfectly.
ATYPICAL_SHARE = 0.15
COLOUR_SPREAD = 20.0
RELATIVE_SPREAD = 0.30
HARMONICS = np.arange(2, 6, dtype=np.float32)


@dataclass(frozen=True)
class Lesions:
    """The appearance of L lesions; every array has L rows, which indexing selects."""

    colour: Floats  # (L, 3)
    skin: Floats  # (L, 3)
    radius: Floats  # (L, 1, 1)
    irregularity: Floats  # (L, 1, 1)
    variegation: Floats  # (L, 1, 1)
    softness: Floats  # (L, 1, 1)
    elongation: Floats  # (L, 1, 1)
    border: Floats  # (L, 2, H): amplitude and phase of the border's harmonics
    patches: Floats  # (L, 3, 3): two frequencies and a phase of three waves

    def __getitem__(self, rows: NDArray[np.int64]) -> "Lesions":
        return Lesions(**{name: values[rows] for name, values in vars(self).items()})


def draw_appearances(labels: NDArray[np.int64], rng: np.random.Generator) -> Lesions:
    """Draw the appearance of one lesion for each class id in `labels`, shape (L,)."""
    count = len(labels)
    atypical = rng.random(count) < ATYPICAL_SHARE
    drawn_as = np.where(atypical, rng.integers(0, len(CLASS_NAMES), count), labels)
    tendencies = [APPEARANCES[CLASS_NAMES[class_id]] for class_id in drawn_as]

    def spread(attribute: str) -> Floats:
        means = np.array([getattr(tendency, attribute) for tendency in tendencies])
        return _column(means * np.exp(rng.normal(0, RELATIVE_SPREAD, count)))

    colours = np.array([tendency.colour for tendency in tendencies])
    # Most variation of colour is of brightness, which the three channels share.
    brightness = rng.normal(0, COLOUR_SPREAD, (count, 1))
    amplitude = rng.normal(0, 1, (count, len(HARMONICS))) / HARMONICS * 2
    phase = rng.uniform(0, 2 * np.pi, (count, len(HARMONICS)))
    return Lesions(
        colour=(colours + brightness + rng.normal(0, COLOUR_SPREAD / 3, (count, 3))).astype(np.float32),
        skin=(np.array([214, 164, 168]) + rng.normal(0, 12, (count, 3))).astype(np.float32),
        radius=spread("radius"),
        irregularity=spread("irregularity"),
        variegation=spread("variegation"),
        softness=spread("softness"),
        elongation=_column(rng.uniform(1.0, 1.35, count)),
        border=np.stack([amplitude, phase], axis=1).astype(np.float32),
        patches=rng.uniform(-6, 6, (count, 3, 3)).astype(np.float32),
    )


def _column(values: NDArray[np.float64]) -> Floats:
    return values.astype(np.float32)[:, None, None]


SENSOR_NOISE = 5.0
MAX_HAIRS = 3


def draw_photographs(lesions: Lesions, image_size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
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
    for _ in range(MAX_HAIRS):
        angle = rng.uniform(0, np.pi, (count, 1, 1)).astype(np.float32)
        offset = rng.uniform(-1, 1, (count, 1, 1)).astype(np.float32)
        present = rng.random((count, 1, 1)) < 0.15
        distance = np.cos(angle) * grid[None, :, None] + np.sin(angle) * grid[None, None, :] - offset
        hairs = np.maximum(hairs, present * np.exp(-np.square(distance / 0.03)))
    return hairs
