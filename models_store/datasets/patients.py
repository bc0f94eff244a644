"""The patients CSV beside a data set: what is known of the person and the place each image shows."""

from pathlib import Path


def patients_path(path: Path) -> Path:
    """Return where the patients CSV of the npz file `path` lies, whether or not it exists."""
    return path.with_name(f"{path.stem}_patients.csv")
