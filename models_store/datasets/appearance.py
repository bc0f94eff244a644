"""How each diagnosis looks in the synthetic set: broad tendencies that overlap, as in the real one."""

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


def imagine(labels: NDArray[np.int64], rng: np.random.Generator) -> Lesions:
    """Draw the appearance of one lesion for each class id in `labels`, shape (L,)."""
    count = len(labels)
    atypical = rng.random(count) < ATYPICAL_SHARE
    looks_like = np.where(atypical, rng.integers(0, len(CLASS_NAMES), count), labels)
    tendencies = [APPEARANCES[CLASS_NAMES[class_id]] for class_id in looks_like]

    def spread(attribute: str) -> Floats:
        means = np.array([getattr(tendency, attribute) for tendency in tendencies])
        return _column(means * np.exp(rng.normal(0, RELATIVE_SPREAD, count)))

    colours = np.array([tendency.colour for tendency in tendencies])
    # Most variation of colour is one of brightness, which the three channels share.
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
