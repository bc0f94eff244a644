"""`test_scores.csv` of a bundle: diagnosis, label and probability of every test image."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COLUMNS = ("index", "diagnosis", "malignant", "probability_malignant")


@dataclass(frozen=True)
class ScoredTestSet:
    """N test images in the order of their split: names of diagnoses, which are malignant, and their probabilities."""

    diagnoses: NDArray[np.str_]
    malignant: NDArray[np.bool_]
    scores: NDArray[np.float64]

    @classmethod
    def read(cls, path: Path) -> "ScoredTestSet":
        """Raises ValueError for a file that `write` did not make."""
        with path.open(newline="", encoding="utf-8") as stream:
            header, *rows = list(csv.reader(stream)) or [[]]
        if tuple(header) != COLUMNS or not rows or any(len(row) != len(COLUMNS) for row in rows):
            raise ValueError(f"its columns have to be {', '.join(COLUMNS)}, with a row for each image")
        _, diagnoses, malignant, scores = zip(*rows, strict=True)
        return cls(np.array(diagnoses), np.array(malignant) == "1", np.array(scores, dtype=np.float64))

    def write(self, path: Path) -> None:
        """Every digit of a probability is kept, so that a program reads the very same number."""
        rows = zip(self.diagnoses.tolist(), self.malignant.tolist(), self.scores.tolist(), strict=True)
        with path.open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream, lineterminator="\n")
            table.writerow(COLUMNS)
            table.writerows(
                (index, diagnosis, int(malignant), repr(score))
                for index, (diagnosis, malignant, score) in enumerate(rows)
            )
