"""The trials' training as curves, one line a trial, alike in all four plots."""

from collections.abc import Sequence
from dataclasses import dataclass

from models_store.tables import Trial
from service.presentation.drawing import COLOURS, Plot, as_json, empty_figure
from service.presentation.experiment import Study

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
    """How a trial's line looks in all four curves."""

    name: str
    status: str
    colour: str
    dashes: str
    is_winner: bool


def trial_legend(study: Study) -> list[LegendEntry]:
    """One entry for each trial with epochs, in the order of the lines."""
    return [
        LegendEntry(trial.name, trial.status, _colour(i), SVG_DASHES[_dash(i)], _is_winner(study, trial.name))
        for i, trial in enumerate(_with_epochs(study))
    ]


def trial_curves(study: Study) -> list[Plot]:
    """Recall first, then specificity, ROC AUC and loss of every trial on the selection images, by epoch."""
    return [_curve(study, metric, title) for metric, title in CURVES.items()]


def _curve(study: Study, metric: str, title: str) -> Plot:
    figure = empty_figure("Epoch", title)
    for i, trial in enumerate(_with_epochs(study)):
        epochs = study.epochs[trial.id]
        is_winner = _is_winner(study, trial.name)
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
            meta=i,
            marker={"color": _colour(i), "size": 11 if is_winner else 7},
        )
    if metric == "val_specificity" and study.spec.selection.policy in ("val_recall", "val_f2"):
        figure.add_hline(y=study.spec.selection.min_specificity, line={"dash": "dot", "color": "#888"})
    if metric != "val_loss":
        figure.update_layout(yaxis={"range": [-0.02, 1.02]})
    alt = f"{title} on the selection images by epoch, one line a trial; the values are in the tables below."
    return Plot(metric, title, alt, as_json(figure))


def _with_epochs(study: Study) -> Sequence[Trial]:
    return [trial for trial in study.trials if study.epochs[trial.id]]


def _is_winner(study: Study, name: str) -> bool:
    return study.model is not None and study.model.winner == name


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _dash(i: int) -> str:
    return DASHES[i // len(COLOURS) % len(DASHES)]
