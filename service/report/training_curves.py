"""Training curves with one line per trial, in the same style in all four plots."""

from collections.abc import Sequence
from dataclasses import dataclass

from models_store.tables import Trial
from service.presentation.drawing import COLOURS, Plot, as_json, empty_figure
from service.presentation.experiment import ExperimentRecord

DASHES = ("solid", "dash", "dot", "dashdot")
SVG_DASHES = {"solid": "", "dash": "9 5", "dot": "2 4", "dashdot": "9 4 2 4"}
CURVES = {
    "val_recall": "Recall (sensitivity)",
    "val_specificity": "Specificity",
    "val_auc": "ROC AUC",
    "val_loss": "Loss (cross-entropy)",
}


@dataclass(frozen=True)
class LegendEntry:
    """The style of a trial's line in all four plots."""

    name: str
    status: str
    colour: str
    dashes: str
    is_winner: bool


def trial_legend(record: ExperimentRecord) -> list[LegendEntry]:
    """One entry per trial with epochs, in the order of the lines."""
    return [
        LegendEntry(trial.name, trial.status, _colour(i), SVG_DASHES[_dash(i)], _is_winner(record, trial.name))
        for i, trial in enumerate(_with_epochs(record))
    ]


def trial_curves(record: ExperimentRecord) -> list[Plot]:
    """Recall, specificity, ROC AUC and loss of every trial on the selection images, by epoch."""
    return [_curve(record, metric, title) for metric, title in CURVES.items()]


def _curve(record: ExperimentRecord, metric: str, title: str) -> Plot:
    figure = empty_figure("Epoch", title)
    for i, trial in enumerate(_with_epochs(record)):
        epochs = record.epochs[trial.id]
        is_winner = _is_winner(record, trial.name)
        chosen = [epoch for epoch in epochs if epoch.number == trial.best_epoch]
        figure.add_scatter(
            x=[epoch.number for epoch in epochs],
            y=[epoch.metrics.get(metric) for epoch in epochs],
            mode="lines" if len(epochs) > 1 else "markers",
            name=trial.name,
            meta=i,
            line={"color": _colour(i), "dash": _dash(i), "width": 3.5 if is_winner else 1.5},
        )
        figure.add_scatter(
            x=[epoch.number for epoch in chosen],
            y=[epoch.metrics.get(metric) for epoch in chosen],
            mode="markers",
            name=f"{trial.name}, best epoch",
            showlegend=False,
            meta=i,
            marker={"color": _colour(i), "size": 11 if is_winner else 7},
        )
    if metric == "val_specificity" and record.spec.selection.policy in ("val_recall", "val_f2"):
        figure.add_hline(y=record.spec.selection.min_specificity, line={"dash": "dot", "color": "#888"})
    if metric != "val_loss":
        figure.update_layout(yaxis={"range": [-0.02, 1.02]})
    alt = f"{title} on the selection images by epoch, one line per trial; the tables below have the values."
    return Plot(metric, title, alt, as_json(figure))


def _with_epochs(record: ExperimentRecord) -> Sequence[Trial]:
    return [trial for trial in record.trials if record.epochs[trial.id]]


def _is_winner(record: ExperimentRecord, name: str) -> bool:
    return record.model is not None and record.model.winner == name


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _dash(i: int) -> str:
    return DASHES[i // len(COLOURS) % len(DASHES)]
