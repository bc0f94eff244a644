"""What every plot shares: axes, intervals, and words for whoever cannot see it.

Figures carry no colours of ink and ground; the page adds them for light, dark and paper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

Json = Mapping[str, Any]

CHANCE = {"mode": "lines", "line": {"dash": "dot", "color": "#888"}, "hoverinfo": "skip"}
# Told apart by most colour-blind readers, and visible on white as on black; the dash changes with every round.
COLOURS = ("#3b82c4", "#d9822b", "#2a9d6f", "#c25fa5", "#8a7fd6", "#a8862c", "#3c9fb5", "#d0605e")


@dataclass(frozen=True)
class Plot:
    """A figure, and what it shows in words for whoever cannot see it."""

    key: str
    title: str
    alt: str
    figure: Json


def empty_figure(x: str, y: str) -> Any:
    """A figure with titled axes that neither pans nor zooms, so that a finger scrolls the page."""
    figure = go.Figure(layout={"template": "none", "showlegend": False, "height": 340, "dragmode": False})
    figure.update_layout(
        margin={"l": 60, "r": 16, "t": 12, "b": 52},
        xaxis={"title": {"text": x}, "fixedrange": True, "automargin": True},
        yaxis={"title": {"text": y}, "fixedrange": True, "automargin": True},
        hovermode="closest",
    )
    return figure


def as_json(figure: Any, *, unit_axes: bool = False) -> Json:
    """Plain data and layout; `unit_axes` shows 0 to 1 on both."""
    if unit_axes:
        figure.update_layout(xaxis={"range": [-0.02, 1.02]}, yaxis={"range": [-0.02, 1.02]})
    drawn = figure.to_plotly_json()
    layout = {key: value for key, value in drawn["layout"].items() if key != "template"}
    return {"data": drawn["data"], "layout": layout}


def interval_bars(values: Sequence[tuple[float, Json]]) -> dict[str, Any]:
    """Error bars of values with their recorded intervals."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [limits["high"] - value for value, limits in values],
        "arrayminus": [value - limits["low"] for value, limits in values],
        "thickness": 1.5,
        "width": 4,
    }
