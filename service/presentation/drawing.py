"""What every plot shares: axes, intervals, colours, and a text alternative.

Figures carry no text or background colours; the page adds them for light, dark and print.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

Json = Mapping[str, Any]

CHANCE = {"name": "chance", "mode": "lines", "line": {"dash": "dot", "color": "#888"}, "hoverinfo": "skip"}
# Distinguishable for most colour-blind readers, on white and on black; after eight lines the dash pattern changes.
COLOURS = ("#3b82c4", "#d9822b", "#2a9d6f", "#c25fa5", "#8a7fd6", "#a8862c", "#3c9fb5", "#d0605e")


@dataclass(frozen=True)
class Plot:
    """A figure with its title and a text alternative for screen readers."""

    key: str
    title: str
    alt: str
    figure: Json


def empty_figure(x: str, y: str) -> Any:
    """A figure with titled axes. It neither pans nor zooms, so touch gestures scroll the page."""
    figure = go.Figure(layout={"template": "none", "showlegend": False, "height": 340, "dragmode": False})
    figure.update_layout(
        margin={"l": 60, "r": 16, "t": 12, "b": 52},
        xaxis={"title": {"text": x}, "fixedrange": True, "automargin": True},
        yaxis={"title": {"text": y}, "fixedrange": True, "automargin": True, "hoverformat": ".3f"},
        hovermode="closest",
    )
    return figure


def roc_curve(test: Json, name: str, colour: str, dash: str = "solid") -> dict[str, Any]:
    """The recorded ROC curve as a line, recall against 1 - specificity."""
    curve = test["curve"]
    x = [0.0, *(point["false_positive_rate"] for point in curve)]
    return _line(x, [0.0, *(point["recall"] for point in curve)], name, colour, dash)


def precision_recall_curve(test: Json, name: str, colour: str, dash: str = "solid") -> dict[str, Any]:
    """The recorded precision-recall curve as a line."""
    curve = test["curve"]
    return _line([point["recall"] for point in curve], [point["precision"] for point in curve], name, colour, dash)


def as_json(figure: Any, *, unit_axes: bool = False) -> Json:
    """Plain data and layout; with `unit_axes`, both axes run from 0 to 1."""
    if unit_axes:
        figure.update_layout(xaxis={"range": [-0.02, 1.02], "hoverformat": ".3f"}, yaxis={"range": [-0.02, 1.02]})
    drawn = figure.to_plotly_json()
    layout = {key: value for key, value in drawn["layout"].items() if key != "template"}
    return {"data": drawn["data"], "layout": layout}


def interval_bars(values: Sequence[tuple[float, Json]]) -> dict[str, Any]:
    """Error bars from values and their recorded intervals."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [limits["high"] - value for value, limits in values],
        "arrayminus": [value - limits["low"] for value, limits in values],
        "thickness": 1.5,
        "width": 4,
    }


def _line(x: Sequence[float], y: Sequence[float], name: str, colour: str, dash: str) -> dict[str, Any]:
    return {"x": x, "y": y, "mode": "lines", "name": name, "line": {"color": colour, "width": 2.5, "dash": dash}}
