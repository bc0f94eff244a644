"""What a network learns to predict: benign or malignant, or one of seven diagnoses. Pure Keras."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from models_store.contract.recipes import Target
from models_store.datasets.labels import CLASS_NAMES, is_malignant
from models_store.datasets.layout import Split

# (7, 2): which of the seven diagnoses is benign, in column 0, or malignant, in column 1.
SIDES = np.eye(2, dtype=np.float32)[is_malignant(np.arange(len(CLASS_NAMES)))]


def outputs_of(target: Target) -> int:
    """How many probabilities a network for this target gives."""
    return len(CLASS_NAMES) if target == "diagnosis" else 2


def one_hot(split: Split, target: Target) -> NDArray[np.float32]:
    """The labels of a split in the form that the loss takes; float32 (N, 2) or (N, 7)."""
    ids = split.labels if target == "diagnosis" else split.malignant
    rows: NDArray[np.float32] = np.eye(outputs_of(target), dtype=np.float32)[ids]
    return rows


def class_weight_of(weights: Mapping[int, float] | None, target: Target) -> dict[int, float] | None:
    """The weights of benign (0) and malignant (1) for each output of the network."""
    if not weights:
        return None
    if target == "malignant":
        return dict(weights)
    return {diagnosis: weights[int(side)] for diagnosis, side in enumerate(is_malignant(np.arange(len(CLASS_NAMES))))}


def metrics_of(target: Target) -> list[keras.metrics.Metric]:
    """Recall, specificity, precision and auc of malignant.

    Recall of a 2-class softmax is accuracy unless it names its class, so every metric names it.
    """
    metrics = [
        keras.metrics.Recall(class_id=1, name="recall"),
        keras.metrics.Recall(class_id=0, name="specificity"),
        keras.metrics.Precision(class_id=1, name="precision"),
        keras.metrics.AUC(multi_label=True, num_labels=2, label_weights=[0.0, 1.0], name="auc"),
    ]
    return metrics if target == "malignant" else [OfTwoSides(metric) for metric in metrics]


class OfTwoSides(keras.metrics.Metric):  # type: ignore[misc]
    """A metric of benign and malignant for a network that gives seven diagnoses."""

    def __init__(self, metric: keras.metrics.Metric) -> None:
        super().__init__(name=metric.name)
        self.metric = metric

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        self.metric.update_state(_sides(y_true), _sides(y_pred), sample_weight)

    def result(self) -> Any:
        return self.metric.result()

    def reset_state(self) -> None:
        self.metric.reset_state()


def _sides(diagnoses: Any) -> Any:
    # Rounding may raise the sum of a confident prediction above 1.
    return ops.minimum(ops.matmul(ops.cast(diagnoses, "float32"), SIDES), 1.0)
