"""The plots as Plotly figures without colours of ink and ground, which the page adds for light, dark and paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from models_store.wording import DIAGNOSES, interval, rate
from service.experiments.report.study import Study

Json = Mapping[str, Any]

# Told apart by most colour-blind readers, and visible on white as on black; the dash changes with every round.
COLOURS = ("#3b82c4", "#d9822b", "#2a9d6f", "#c25fa5", "#8a7fd6", "#a8862c", "#3c9fb5", "#d0605e")
DASHES = ("solid", "dash", "dot", "dashdot")
SVG_DASHES = {"solid": "", "dash": "9 5", "dot": "2 4", "dashdot": "9 4 2 4"}
CURVES = {
    "val_recall": "Recall (sensitivity)",
    "val_specificity": "Specificity",
    "val_auc": "ROC AUC",
    "val_loss": "Loss (cross-entropy)",
}


@dataclass(frozen=True)
class Plot:
    """A figure, and what it shows in words for whoever cannot see it."""

    key: str
    title: str
    alt: str
    figure: Json


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


def roc(test: Json) -> Plot:
    """The ROC curve with both operating points; needs a recorded curve."""
    points, half = test["curve"], test["at_half"]
    figure = _figure("1 - specificity (share of benign called malignant)", "Recall (sensitivity)")
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "#888"}, hoverinfo="skip")
    figure.add_scatter(
        x=[0.0, *(point["false_positive_rate"] for point in points)],
        y=[0.0, *(point["recall"] for point in points)],
        mode="lines",
        name="ROC",
        line={"color": COLOURS[0], "width": 2.5},
    )
    figure.add_scatter(**_operating_point(1 - half["specificity"], half["recall"], "threshold 0.5", "circle-open", 3))
    chosen = _operating_point(1 - test["specificity"], test["recall"], "calibrated", "diamond", 1)
    figure.add_scatter(**chosen, error_x=_error(test, "specificity", mirrored=True), error_y=_error(test, "recall"))
    alt = (
        f"ROC curve with an area of {rate(test['roc_auc'])}. The calibrated threshold gives recall "
        f"{rate(test['recall'])} at specificity {rate(test['specificity'])}; the threshold 0.5 gives recall "
        f"{rate(half['recall'])} at specificity {rate(half['specificity'])}."
    )
    return Plot("roc", "ROC curve", alt, _json(figure, unit_axes=True))


def precision_recall(test: Json) -> Plot:
    """The precision-recall curve with both operating points; needs a recorded curve."""
    half, share = test["at_half"], test["malignant_images"] / test["images"]
    figure = _figure("Recall (sensitivity)", "Precision")
    figure.add_scatter(
        x=[0, 1], y=[share, share], mode="lines", line={"dash": "dot", "color": "#888"}, hoverinfo="skip"
    )
    figure.add_scatter(
        x=[point["recall"] for point in test["curve"]],
        y=[point["precision"] for point in test["curve"]],
        mode="lines",
        name="PR",
        line={"color": COLOURS[0], "width": 2.5},
    )
    figure.add_scatter(**_operating_point(half["recall"], half["precision"], "threshold 0.5", "circle-open", 3))
    chosen = _operating_point(test["recall"], test["precision"], "calibrated", "diamond", 1)
    figure.add_scatter(**chosen, error_x=_error(test, "recall"), error_y=_error(test, "precision"))
    alt = (
        f"Precision-recall curve with an average precision of {rate(test['pr_auc'])}; calling everything malignant "
        f"would give {rate(share)}. The calibrated threshold gives precision {rate(test['precision'])} at recall "
        f"{rate(test['recall'])}."
    )
    return Plot("precision-recall", "Precision-recall curve", alt, _json(figure, unit_axes=True))


def reliability(test: Json) -> Plot:
    """Observed share against predicted probability, in bins of equal mass with exact intervals."""
    bins = test["reliability"]
    figure = _figure("Predicted probability of malignant", "Share that was malignant")
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line={"dash": "dot", "color": "#888"}, hoverinfo="skip")
    figure.add_scatter(
        x=[part["predicted"] for part in bins],
        y=[part["observed"] for part in bins],
        mode="markers+lines",
        name="bins",
        marker={"color": COLOURS[0], "size": 8},
        line={"color": COLOURS[0], "width": 1},
        error_y=_errors([(part["observed"], part["interval"]) for part in bins]),
    )
    alt = (
        f"Reliability diagram of {len(bins)} bins. On the dotted diagonal a probability of 30 % is malignant in 30 % "
        f"of cases; the mean distance from it is {rate(test['ece'])}."
    )
    return Plot("reliability", "Reliability diagram", alt, _json(figure, unit_axes=True))


def diagnoses(test: Json) -> Plot:
    """The share of each diagnosis that was called rightly, melanoma on top, with exact intervals."""
    rows = test["diagnoses"]
    figure = _figure("Share called rightly", "")
    for kind, colour in ((True, COLOURS[1]), (False, COLOURS[0])):
        chosen = [row for row in rows if row["malignant"] is kind]
        figure.add_scatter(
            x=[row["rate"] for row in chosen],
            y=[row["diagnosis"] for row in chosen],
            mode="markers",
            name="malignant" if kind else "benign",
            marker={"color": colour, "size": 10},
            error_x=_errors([(row["rate"], row["interval"]) for row in chosen]),
        )
    figure.update_layout(xaxis={"range": [-0.02, 1.02]}, yaxis={"autorange": "reversed", "type": "category"})
    shares = "; ".join(
        f"{DIAGNOSES[row['diagnosis']]} {rate(row['rate'])} ({interval(row['interval'])})" for row in rows
    )
    return Plot("diagnoses", "Sensitivity by diagnosis", f"Share called rightly: {shares}.", _json(figure))


def _curve(study: Study, metric: str, title: str) -> Plot:
    figure = _figure("Epoch", title)
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
    return Plot(metric, title, alt, _json(figure))


def _with_epochs(study: Study) -> Sequence[Any]:
    return [trial for trial in study.trials if study.epochs[trial.id]]


def _is_winner(study: Study, name: str) -> bool:
    return study.model is not None and study.model.winner == name


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _dash(i: int) -> str:
    return DASHES[i // len(COLOURS) % len(DASHES)]


def _operating_point(x: float, y: float | None, name: str, symbol: str, colour: int) -> dict[str, Any]:
    marker = {"symbol": symbol, "size": 13, "color": COLOURS[colour], "line": {"width": 2, "color": COLOURS[colour]}}
    return {"x": [x], "y": [y], "mode": "markers", "name": name, "marker": marker}


def _error(test: Json, name: str, *, mirrored: bool = False) -> dict[str, Any] | None:
    """The recorded interval as error bars; mirrored where the axis shows 1 - the figure."""
    limits = test["intervals"][name]
    if limits is None:
        return None
    bars = _errors([(test[name], limits)])
    return bars | {"array": bars["arrayminus"], "arrayminus": bars["array"]} if mirrored else bars


def _errors(values: Sequence[tuple[float, Json]]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [limits["high"] - value for value, limits in values],
        "arrayminus": [value - limits["low"] for value, limits in values],
        "thickness": 1.5,
        "width": 4,
    }


def _figure(x: str, y: str) -> Any:
    figure = go.Figure(layout={"template": "none", "showlegend": False, "height": 340, "dragmode": False})
    figure.update_layout(
        margin={"l": 60, "r": 16, "t": 12, "b": 52},
        xaxis={"title": {"text": x}, "fixedrange": True, "automargin": True},
        yaxis={"title": {"text": y}, "fixedrange": True, "automargin": True},
        hovermode="closest",
    )
    return figure


def _json(figure: Any, *, unit_axes: bool = False) -> Json:
    if unit_axes:
        figure.update_layout(xaxis={"range": [-0.02, 1.02]}, yaxis={"range": [-0.02, 1.02]})
    drawn = figure.to_plotly_json()
    layout = {key: value for key, value in drawn["layout"].items() if key != "template"}
    return {"data": drawn["data"], "layout": layout}
