"""What docs/results.md needs of each run, kept so that the page can be written again without training.

A record holds no image and no identity of one: the scores of each class stand in the order of the test set, which is
enough for a paired comparison of two runs on the same images.
"""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_store.contract.figures import Confusion, Evaluation, LesionRecall
from models_store.contract.records import CalibrationRecord
from models_store.contract.specs import Record
from models_store.store.bundles import TEST_SCORES, read_json, write_json
from models_store.store.scored_test_set import ScoredTestSet
from workers.pipeline.evaluation.evaluation import lesion_recall

RECORDS = Path(__file__).with_name("records")
DIGITS = 7


class Result(Record):
    """One preset on one data set. `settings` is the preset as it was; scores are probabilities of malignant.

    `labels_sha256` is of the diagnoses of all test images in their order: two runs with the same one can be paired.
    """

    preset: str
    dataset: str
    settings: dict[str, Any]
    opened_at: datetime
    environment: dict[str, Any]
    seconds: dict[str, float]
    guarantee_holds: bool
    threshold: float
    roc_auc: float
    recall: float
    specificity: float
    confusion: Confusion
    macro_auc: float | None
    accuracy: float | None
    lesion_recall: LesionRecall
    labels_sha256: str
    malignant_scores: tuple[float, ...]
    benign_scores: tuple[float, ...]

    @property
    def split(self) -> str:
        return self.dataset.rpartition("_")[0]

    @property
    def pixels(self) -> int:
        return int(self.dataset.rpartition("_")[2])

    @property
    def minutes(self) -> float:
        return sum(self.seconds.values()) / 60

    @property
    def scores(self) -> NDArray[np.float64]:
        """(N,): those of the malignant images, then those of the benign ones."""
        return np.array(self.malignant_scores + self.benign_scores)

    @property
    def malignant(self) -> NDArray[np.int64]:
        """(N,): 1 for each malignant image, then 0 for each benign one."""
        return np.repeat([1, 0], [len(self.malignant_scores), len(self.benign_scores)])

    @property
    def called(self) -> NDArray[np.bool_]:
        """(N,): which images are called malignant."""
        return self.scores >= self.threshold


def keep(bundle: Path, settings: dict[str, Any], records: Path, lesion_ids: NDArray[Any]) -> None:
    """Write the record of a finished run, whose bundle is `PRESET/DATASET`, to `records/PRESET/DATASET.json`.

    `lesion_ids` (N,) are those of the test images: the bundles of earlier versions do not count lesions.
    """
    evaluation = Evaluation.model_validate(read_json(bundle / "metrics.json"))
    calibration = CalibrationRecord.model_validate(read_json(bundle / "calibration.json"))
    tested, seven = ScoredTestSet.read(bundle / TEST_SCORES), evaluation.seven
    scores = tested.scores.round(DIGITS)
    result = Result(
        preset=bundle.parent.name,
        dataset=bundle.name,
        settings=settings,
        **read_json(bundle / "run.json"),
        guarantee_holds=calibration.guarantee.holds,
        lesion_recall=lesion_recall(tested.scores, tested.malignant, lesion_ids, evaluation.threshold),
        **evaluation.model_dump(include={"threshold", "roc_auc", "recall", "specificity", "confusion"}),
        macro_auc=seven.macro_auc if seven else None,
        accuracy=seven.accuracy if seven else None,
        labels_sha256=hashlib.sha256("\n".join(tested.diagnoses.tolist()).encode()).hexdigest(),
        malignant_scores=scores[tested.malignant].tolist(),
        benign_scores=scores[~tested.malignant].tolist(),
    )
    kept = records / result.preset / f"{result.dataset}.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_json(kept, result)


def kept_results(records: Path) -> Sequence[Result]:
    return [Result.model_validate_json(path.read_bytes()) for path in sorted(records.glob("*/*.json"))]
