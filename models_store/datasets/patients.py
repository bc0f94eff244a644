"""The patients CSV beside a data set: groups of patients, such as their age, for figures by group."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from math import floor, inf, isfinite, log10
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models_store.datasets.errors import DatasetInvalid
from models_store.datasets.labels import SPLITS

PLACE = ("split", "index")
UNKNOWN = ""
UNKNOWN_GROUP = "unknown"
# A number with fewer distinct values is a code, such as a skin type from 1 to 6, and stays as it is.
MIN_VALUES_TO_CUT = 10
MAX_BANDS = 6
IDENTIFYING_SHARE = 0.9
ROUNDING = 1e-9  # 0.3 / 0.1 is a little below 3

# The cells of one column by the split and index of their image.
Cells = dict[tuple[str, int], str]


@dataclass(frozen=True)
class PatientColumn:
    """One column: its groups in order, and for each split the group of every image, str (N,), empty where unknown."""

    groups: tuple[str, ...]
    of_images: dict[str, NDArray[np.str_]]

    def named(self, split: str) -> NDArray[np.str_]:
        """The group of every image of a split, str (N,), `unknown` where nothing is known."""
        groups = self.of_images[split]
        return np.where(groups == UNKNOWN, UNKNOWN_GROUP, groups)


def patients_path(path: Path) -> Path:
    """Return where the patients CSV of the npz file `path` lies, whether or not it exists."""
    return path.with_name(f"{path.stem}_patients.csv")


def read_patients(path: Path, sizes: dict[str, int]) -> dict[str, PatientColumn] | None:
    """Return the columns by name; None where no CSV exists.

    Numbers are cut into bands, and columns that identify an image or a patient are left out. `sizes` gives the images
    of each split. Raises `DatasetInvalid` unless each image is named exactly once.
    """
    csv_path = patients_path(path)
    if not csv_path.exists():
        return None
    names, rows = _read_rows(csv_path)
    _require_each_image_once(csv_path, [(split, index) for split, index, _ in rows], sizes)
    columns = {}
    for number, name in enumerate(names):
        cells = {(split, index): values[number].strip() for split, index, values in rows}
        if not _identifies(name, cells):
            columns[name] = _column(cells, sizes)
    return columns


def band_width(values: NDArray[np.float64]) -> float:
    """Return 1, 2 or 5 times a power of ten that cuts nearly all values into at most six bands.

    The outermost hundredths do not count, so that one wrong entry does not put everybody into one band.
    """
    low, high = np.percentile(values, [1, 99])
    power = 10.0 ** floor(log10((high - low) / MAX_BANDS or 1))
    widths = [step * power for step in (1, 2, 5, 10, 20)]
    return next(width for width in widths if floor(high / width) - floor(low / width) < MAX_BANDS)


def _read_rows(csv_path: Path) -> tuple[list[str], list[tuple[str, int, list[str]]]]:
    try:
        with csv_path.open(newline="", encoding="utf-8") as stream:
            header, *lines = filter(None, csv.reader(stream))
        names = header[len(PLACE) :]
        if tuple(header[: len(PLACE)]) != PLACE or not all(names) or len(set(names)) < len(names):
            raise ValueError(f"its columns are {', '.join(header)}")
        uneven = next((line for line in lines if len(line) != len(header)), None)
        if uneven is not None:
            raise ValueError(f"the row {','.join(uneven)} has {len(uneven)} cells for {len(header)} columns")
        return names, [(split, int(index), values) for split, index, *values in lines]
    except (ValueError, OSError, csv.Error) as error:
        raise DatasetInvalid(
            csv_path,
            f"not a patients table ({error})",
            "It needs the columns split and index, then others of different names, or remove it",
        ) from error


def _require_each_image_once(csv_path: Path, places: list[tuple[str, int]], sizes: dict[str, int]) -> None:
    images = {(split, index) for split in SPLITS for index in range(sizes[split])}
    wrong = next((place for place in places if place not in images), None)
    if wrong is not None or len(places) != len(images) or set(places) != images:
        problem = f"{wrong[0]} {wrong[1]} is no image of it" if wrong else f"{len(set(places))} of its images are named"
        raise DatasetInvalid(
            csv_path,
            f"{len(places)} rows for a data set of {len(images)} images, and {problem}",
            "Name each image once, by its split and its index from 0, or remove the file",
        )


def _identifies(name: str, cells: Cells) -> bool:
    """Whether a column identifies a person or an image, instead of a group of people."""
    known = [cell for cell in cells.values() if cell != UNKNOWN]
    if name.lower() == "id" or name.lower().endswith("_id"):
        return True
    numbers = _numbers(known)
    is_measured = numbers is not None and bool((numbers % 1 != 0).any())
    return not is_measured and len(known) > 1 and len(set(known)) >= IDENTIFYING_SHARE * len(known)


def _column(cells: Cells, sizes: dict[str, int]) -> PatientColumn:
    known = sorted({cell for cell in cells.values() if cell != UNKNOWN}, key=_in_order)
    numbers = _numbers(known)
    if numbers is not None and len(known) >= MIN_VALUES_TO_CUT:
        every = _numbers([cell for cell in cells.values() if cell != UNKNOWN])
        assert every is not None
        named = _naming(every)
        group_of = {cell: named(float(cell)) for cell in known}
    else:
        group_of = {cell: cell for cell in known}
    of_images = {
        split: np.array([group_of.get(cells[split, index], UNKNOWN) for index in range(size)], dtype=np.str_)
        for split, size in sizes.items()
    }
    return PatientColumn(tuple(dict.fromkeys(group_of.values())), of_images)


def _naming(values: NDArray[np.float64]) -> Callable[[float], str]:
    """Return a function that names the band of a number: `40 to 59` for whole numbers, `0.5 to under 1` otherwise."""
    width = band_width(values)
    is_whole = not (values % 1 != 0).any() and width >= 1

    def named(value: float) -> str:
        low = floor(value / width + ROUNDING) * width
        return f"{low:g} to {low + width - 1:g}" if is_whole else f"{low:g} to under {low + width:g}"

    return named


def _numbers(cells: list[str]) -> NDArray[np.float64] | None:
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return None
    return np.array(values) if all(map(isfinite, values)) else None


def _in_order(cell: str) -> tuple[float, str]:
    """Numbers by their size, then everything else by its letters."""
    numbers = _numbers([cell])
    return (inf, cell) if numbers is None else (float(numbers[0]), cell)
