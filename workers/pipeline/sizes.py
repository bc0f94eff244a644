"""How much evidence each part of the data holds, for the record."""

from typing import Any

import numpy as np

from models_store.datasets.layout import Split
from workers.pipeline.data import StudyData


def sizes(data: StudyData) -> dict[str, Any]:
    """Images, malignant images and lesions (None where unknown) of each part that Phases 1 and 2 may see."""
    return {
        "train": _size(data.train),
        "selection": _size(data.selection),
        "calibration": _size(data.calibration),
        "selection_images_of_train_lesions": data.selection_images_of_train_lesions,
        "calibration_images_of_train_lesions": data.calibration_images_of_train_lesions,
    }


def _size(split: Split) -> dict[str, int | None]:
    lesions = None if split.lesion_ids is None else len(np.unique(split.lesion_ids))
    return {"images": len(split.labels), "malignant": int(split.malignant.sum()), "lesions": lesions}
