"""The epochs of a study's trials as columns, which a page draws and extends as more of them come."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from models_store.specs import ExperimentSpec
from models_store.tables import EpochRow, Experiment, Trial

# Each figure as it is named for train and for the selection images; recall first.
FIGURES = {
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "auc": "ROC AUC",
    "loss": "Loss (cross-entropy)",
}
SHOWN = tuple(f"{prefix}{name}" for name in FIGURES for prefix in ("", "val_"))
DIGITS = 4


def curves(session: Session, experiment: Experiment, spec: ExperimentSpec, trials: Sequence[Trial]) -> dict[str, Any]:
    """Columns by trial and figure, and `after`: the number of the last event that they tell of."""
    trained = [trial for trial in trials if trial.kind == "train"]
    columns: dict[str, dict[str, list[float | None]]] = {
        trial.id: {name: [] for name in ("number", *SHOWN)} for trial in trained
    }
    best: defaultdict[str, int] = defaultdict(int)
    chosen = select(EpochRow.trial_id, EpochRow.number, EpochRow.metrics, EpochRow.best).where(
        EpochRow.trial_id.in_(columns)
    )
    for trial_id, number, metrics, is_best in session.execute(chosen.order_by(EpochRow.trial_id, EpochRow.number)):
        of_it = columns[trial_id]
        of_it["number"].append(number)
        for name in SHOWN:
            value = metrics.get(name)
            of_it[name].append(None if value is None else round(value, DIGITS))
        if is_best:
            best[trial_id] = number
    guarded = spec.selection.policy in ("val_recall", "val_f2")
    return {
        "after": experiment.events,
        "ended": experiment.status in ("succeeded", "failed", "cancelled"),
        "floor": spec.selection.min_specificity if guarded else None,
        "figures": FIGURES,
        "trials": [
            {"id": trial.id, "name": trial.name, "best": best[trial.id] or None, "columns": columns[trial.id]}
            for trial in trained
        ],
    }
