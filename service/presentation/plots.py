"""The test results of one model as plots."""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from models_store.wording import DIAGNOSES, interval, rate
from models_store.wording.estimates import net_benefit_sentence
from service.presentation.drawing import (
    CHANCE,
    COLOURS,
    Json,
    Plot,
    as_json,
    empty_figure,
    interval_bars,
    precision_recall_curve,
    roc_curve,
)

# Wider labels leave too little room for the plot on a phone.
LABEL_CHARACTERS = 22


def result_plots(test: Json) -> list[Plot]:
    """ROC, precision-recall and decision curves where they were recorded, the reliability diagram, the diagnoses."""
    curves = [roc(test), precision_recall(test)] if test.get("curve") else []
    decisions = [decision_curve(test)] if test.get("decision_curve") else []
    return [*curves, reliability(test), *decisions, *diagnoses(test)]


def roc(test: Json) -> Plot:
    """The ROC curve with both operating points; needs a recorded curve."""
    half = test["at_half"]
    figure = empty_figure("1 - specificity", "Recall (sensitivity)")
    figure.add_scatter(x=[0, 1], y=[0, 1], **CHANCE)
    figure.add_scatter(**roc_curve(test, "ROC", COLOURS[0]))
    figure.add_scatter(**_operating_point(1 - half["specificity"], half["recall"], "threshold 0.5", "circle-open", 3))
    chosen = _operating_point(1 - test["specificity"], test["recall"], "chosen threshold", "diamond", 1)
    figure.add_scatter(**chosen, error_x=_error(test, "specificity", mirrored=True), error_y=_error(test, "recall"))
    alt = (
        f"ROC curve with an area of {rate(test['roc_auc'])}. The chosen threshold gives recall "
        f"{rate(test['recall'])} at specificity {rate(test['specificity'])}; the threshold 0.5 gives recall "
        f"{rate(half['recall'])} at specificity {rate(half['specificity'])}."
    )
    return Plot("roc", "ROC curve", alt, as_json(figure, unit_axes=True))


def precision_recall(test: Json) -> Plot:
    """The precision-recall curve with both operating points; needs a recorded curve."""
    half, share = test["at_half"], test["malignant_images"] / test["images"]
    figure = empty_figure("Recall (sensitivity)", "Precision")
    figure.add_scatter(x=[0, 1], y=[share, share], **CHANCE)
    figure.add_scatter(**precision_recall_curve(test, "PR", COLOURS[0]))
    figure.add_scatter(**_operating_point(half["recall"], half["precision"], "threshold 0.5", "circle-open", 3))
    chosen = _operating_point(test["recall"], test["precision"], "chosen threshold", "diamond", 1)
    figure.add_scatter(**chosen, error_x=_error(test, "recall"), error_y=_error(test, "precision"))
    alt = (
        f"Precision-recall curve with an average precision of {rate(test['pr_auc'])}; classifying every image as "
        f"malignant would give {rate(share)}. The chosen threshold gives precision {rate(test['precision'])} at recall "
        f"{rate(test['recall'])}."
    )
    return Plot("precision-recall", "Precision-recall curve", alt, as_json(figure, unit_axes=True))


def reliability(test: Json) -> Plot:
    """Observed share against predicted probability, in bins of equal mass with exact intervals."""
    bins = test["reliability"]
    figure = empty_figure("Predicted probability of malignant", "Observed share of malignant")
    figure.add_scatter(x=[0, 1], y=[0, 1], **CHANCE | {"name": "perfectly calibrated"})
    figure.add_scatter(
        x=[part["predicted"] for part in bins],
        y=[part["observed"] for part in bins],
        mode="markers+lines",
        name="bins",
        marker={"color": COLOURS[0], "size": 8},
        line={"color": COLOURS[0], "width": 1},
        error_y=interval_bars([(part["observed"], part["interval"]) for part in bins]),
    )
    alt = (
        f"Reliability diagram with {len(bins)} bins. On the dotted diagonal, 30 % of the images with a probability of "
        f"30 % are malignant; the mean distance from it is {rate(test['ece'])}."
    )
    return Plot("reliability", "Reliability diagram", alt, as_json(figure, unit_axes=True))


def decision_curve(test: Json) -> Plot:
    """Net benefit of the model beside treating all and none; needs a recorded decision curve."""
    points = test["decision_curve"]
    thresholds, best = [point["threshold"] for point in points], test["malignant_images"] / test["images"]
    figure = empty_figure("Threshold probability", "Net benefit per image")
    figure.add_scatter(x=[0, thresholds[-1]], y=[0, 0], **CHANCE | {"name": "treat none"})
    for name, label, dash, colour in (("treat_all", "treat all", "dash", 1), ("model", "model", "solid", 0)):
        line = {"color": COLOURS[colour], "width": 2.5, "dash": dash}
        figure.add_scatter(x=thresholds, y=[point[name] for point in points], mode="lines", name=label, line=line)
    figure.update_layout(xaxis={"range": [0, thresholds[-1]]}, yaxis={"range": [-0.2 * best, 1.1 * best]})
    alt = (
        "Decision curve: net benefit of acting on the model (solid), on every image (dashed) and on none (dotted). "
        f"{net_benefit_sentence(test)}"
    )
    return Plot("decision-curve", "Decision curve", alt, as_json(figure))


def diagnoses(test: Json) -> list[Plot]:
    """The sensitivity of each malignant diagnosis, melanoma at the top, and the specificity of each benign one."""
    return [
        _by_diagnosis([row for row in test["diagnoses"] if row["malignant"] is malignant], figure, colour)
        for malignant, figure, colour in ((True, "sensitivity", COLOURS[1]), (False, "specificity", COLOURS[0]))
    ]


def _by_diagnosis(rows: Sequence[Json], name: str, colour: str) -> Plot:
    figure = empty_figure(name.capitalize(), "")
    figure.add_scatter(
        x=[row["rate"] for row in rows],
        y=["<br>".join(wrap(DIAGNOSES[row["diagnosis"]], LABEL_CHARACTERS)) for row in rows],
        mode="markers",
        name=name,
        marker={"color": colour, "size": 10},
        error_x=interval_bars([(row["rate"], row["interval"]) for row in rows]),
    )
    figure.update_layout(xaxis={"range": [-0.02, 1.02], "hoverformat": ".3f"})
    figure.update_layout(yaxis={"autorange": "reversed", "type": "category"})
    shares = "; ".join(
        f"{DIAGNOSES[row['diagnosis']]} {rate(row['rate'])} ({interval(row['interval'])})" for row in rows
    )
    alt = f"{name.capitalize()} by diagnosis: {shares or 'no such image in the test set'}."
    return Plot(f"{name}-by-diagnosis", f"{name.capitalize()} by diagnosis", alt, as_json(figure))


def _operating_point(x: float, y: float | None, name: str, symbol: str, colour: int) -> dict[str, Any]:
    marker = {"symbol": symbol, "size": 13, "color": COLOURS[colour], "line": {"width": 2, "color": COLOURS[colour]}}
    return {"x": [x], "y": [y], "mode": "markers", "name": name, "marker": marker}


def _error(test: Json, name: str, *, mirrored: bool = False) -> dict[str, Any] | None:
    """The recorded interval as error bars; mirrored where the axis shows 1 - the figure."""
    limits = test["intervals"][name]
    if limits is None:
        return None
    bars = interval_bars([(test[name], limits)])
    return bars | {"array": bars["arrayminus"], "arrayminus": bars["array"]} if mirrored else bars
