"""The curves of two models in one plot."""

from models_store.tables import Model
from models_store.wording import rate
from service.presentation.drawing import (
    CHANCE,
    COLOURS,
    Json,
    Plot,
    as_json,
    empty_figure,
    precision_recall_curve,
    roc_curve,
)

STYLES = ((COLOURS[0], "solid", "diamond"), (COLOURS[1], "dash", "square"))


def overlaid(a: Model, b: Model) -> list[Plot]:
    """ROC and precision-recall curves with the operating points; empty if a curve was not recorded."""
    if not (a.metrics.get("curve") and b.metrics.get("curve")):
        return []
    return [_roc(a, b), _precision_recall(a, b)]


def _roc(a: Model, b: Model) -> Plot:
    figure = empty_figure("1 - specificity", "Recall (sensitivity)")
    figure.add_scatter(x=[0, 1], y=[0, 1], **CHANCE)
    for name, test, (colour, dash, symbol) in _named(a, b):
        figure.add_scatter(**roc_curve(test, name, colour, dash))
        figure.add_scatter(**_point(1 - test["specificity"], test["recall"], name, symbol, colour))
    alt = (
        f"ROC curves. A, solid with a diamond: area {rate(a.metrics['roc_auc'])}, recall {rate(a.metrics['recall'])} "
        f"at specificity {rate(a.metrics['specificity'])}. B, dashed with a square: area {rate(b.metrics['roc_auc'])}, "
        f"recall {rate(b.metrics['recall'])} at specificity {rate(b.metrics['specificity'])}."
    )
    return Plot("roc", "ROC curves", alt, as_json(figure, unit_axes=True))


def _precision_recall(a: Model, b: Model) -> Plot:
    figure = empty_figure("Recall (sensitivity)", "Precision")
    for name, test, (colour, dash, symbol) in _named(a, b):
        figure.add_scatter(**precision_recall_curve(test, name, colour, dash))
        figure.add_scatter(**_point(test["recall"], test["precision"], name, symbol, colour))
    alt = (
        f"Precision-recall curves. A, solid with a diamond: average precision {rate(a.metrics['pr_auc'])}. B, dashed "
        f"with a square: {rate(b.metrics['pr_auc'])}."
    )
    return Plot("precision-recall", "Precision-recall curves", alt, as_json(figure, unit_axes=True))


def _named(a: Model, b: Model) -> list[tuple[str, Json, tuple[str, str, str]]]:
    """The name, the test results and the style of each model."""
    return [
        (f"{letter}: {model.winner}", model.metrics, style)
        for letter, model, style in zip("AB", (a, b), STYLES, strict=True)
    ]


def _point(x: float, y: float | None, name: str, symbol: str, colour: str) -> dict[str, object]:
    marker = {"symbol": symbol, "size": 13, "color": colour}
    return {"x": [x], "y": [y], "mode": "markers", "name": f"{name}, chosen threshold", "marker": marker}
