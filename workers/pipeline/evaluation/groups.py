"""Who is missed: recall and specificity by group of people or place on the body."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models_store.contract.figures import GroupFigures, Grouping, Interval
from models_store.wording.groups import ENOUGH_IMAGES, gap
from workers.pipeline.evaluation.figures import ScoresMismatch
from workers.pipeline.evaluation.intervals import clopper_pearson

Truths = NDArray[np.bool_]


def groupings(
    columns: Mapping[str, ArrayLike], scores: NDArray[np.float64], malignant: NDArray[Any], threshold: float
) -> tuple[Grouping, ...]:
    """Figures of `malignant iff p >= threshold` by each column of group names (N,), with exact intervals over images.

    A group has `enough` with 20 malignant and 20 benign images. The largest gap in recall is among groups with 20
    malignant images and the one in specificity among groups with 20 benign ones; people of whom nothing is known
    (`unknown`) are in no gap. Raises `ScoresMismatch` for arrays of different lengths.
    """
    is_malignant, called = np.asarray(malignant).astype(bool), scores >= threshold
    return tuple(_grouping(name, np.asarray(column), is_malignant, called) for name, column in columns.items())


def _grouping(column: str, names: NDArray[Any], malignant: Truths, called: Truths) -> Grouping:
    if not names.shape == malignant.shape == called.shape:
        raise ScoresMismatch(f"column {column} {names.shape} must name a group for each of {len(called)} images")
    groups = tuple(_group(str(name), malignant[names == name], called[names == name]) for name in np.unique(names))
    recorded = [group.model_dump() for group in groups]
    return Grouping(
        column=column,
        groups=groups,
        largest_recall_gap=gap(recorded, "recall"),
        largest_specificity_gap=gap(recorded, "specificity"),
    )


def _group(name: str, malignant: Truths, called: Truths) -> GroupFigures:
    positives, negatives = int(malignant.sum()), int((~malignant).sum())
    recall, recall_interval = _share(int((called & malignant).sum()), positives)
    specificity, specificity_interval = _share(int((~called & ~malignant).sum()), negatives)
    return GroupFigures(
        group=name,
        malignant_images=positives,
        benign_images=negatives,
        recall=recall,
        recall_interval=recall_interval,
        specificity=specificity,
        specificity_interval=specificity_interval,
        enough=min(positives, negatives) >= ENOUGH_IMAGES,
    )


def _share(right: int, images: int) -> tuple[float | None, Interval | None]:
    return (right / images, clopper_pearson(right, images)) if images else (None, None)
