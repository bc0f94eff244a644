"""Seven diagnoses: how often the most probable one is right, and which ones are confused."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from models_store.contract.figures import DiagnosisTable
from models_store.datasets.labels import CLASS_NAMES
from workers.pipeline.evaluation.curves import areas, rank
from workers.pipeline.evaluation.figures import ScoresMismatch
from workers.pipeline.evaluation.intervals import bootstrap, clopper_pearson

Floats = NDArray[np.float64]


def diagnosis_table(
    probabilities: Floats, labels: NDArray[np.int64], *, lesion_ids: ArrayLike | None = None, seed: int = 0
) -> DiagnosisTable:
    """Measure probabilities (N, 7) of the diagnoses in the order of `CLASS_NAMES` against class ids (N,).

    The interval of the accuracy is exact and counts each image; that of the macro AUC is a bootstrap over lesions, or
    over images without ids, and None where a diagnosis is so rare that many resamples lack it. Raises `ScoresMismatch`.
    """
    classes = len(CLASS_NAMES)
    if probabilities.shape != (len(labels), classes) or not np.all((probabilities >= 0) & (probabilities <= 1)):
        raise ScoresMismatch(
            f"{probabilities.shape} must be probabilities of {classes} diagnoses of {len(labels)} images"
        )
    rankings = [rank(probabilities[:, label], labels == label) for label in range(classes)]

    def macro_auc(weights: NDArray[Any]) -> dict[str, Floats]:
        return {"macro_auc": np.mean([areas(ranking, weights)["roc_auc"] for ranking in rankings], axis=0)}

    called = probabilities.argmax(axis=1)
    confusion = np.bincount(classes * labels + called, minlength=classes**2).reshape(classes, classes)
    right = int(np.trace(confusion))
    auc = float(macro_auc(np.ones((1, len(labels))))["macro_auc"][0])
    known = bool(np.isfinite(auc))
    intervals = bootstrap(macro_auc, len(labels), lesion_ids=lesion_ids, seed=seed) if known else {"macro_auc": None}
    return DiagnosisTable(
        diagnoses=CLASS_NAMES,
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        accuracy=right / len(labels),
        accuracy_interval=clopper_pearson(right, len(labels)),
        macro_auc=auc if known else None,
        macro_auc_interval=intervals["macro_auc"],
    )
