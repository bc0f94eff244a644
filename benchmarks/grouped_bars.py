"""A bar chart as a small SVG file that reads on light and dark pages alike."""

import math
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#3b82c4", "#d9822b", "#2a9d6f", "#a05fb4", "#888888")
INK = "#777"
WIDTH, HEIGHT, GAP, LEFT, TOP = 340, 220, 60, 60, 70
IN_A_ROW = 3  # of the series in the legend


def grouped_bars(panels: Mapping[str, Mapping[str, Sequence[float]]], series: Sequence[str], axis: str) -> str:
    """One panel for each key, one group of bars for each key in it, one bar for each of `series`; logarithmic."""
    values = [value for groups in panels.values() for bars in groups.values() for value in bars]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    width = LEFT + len(panels) * (WIDTH + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {TOP + HEIGHT + 50}" '
        f'font-family="sans-serif" font-size="12" fill="{INK}" role="img" aria-label="{escape(axis)}">'
    ]
    for place, title in enumerate(series):
        x, y = LEFT + place % IN_A_ROW * 240, 6 + place // IN_A_ROW * 20
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{COLOURS[place]}"/>')
        parts.append(f'<text x="{x + 18}" y="{y + 10}">{escape(title)}</text>')
    for number, (name, groups) in enumerate(panels.items()):
        parts += _panel(LEFT + number * (WIDTH + GAP), name, groups, low, high)
    parts.append(
        f'<text transform="translate(14 {TOP + HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(axis)}</text>'
    )
    return "\n".join((*parts, "</svg>")) + "\n"


def _panel(left: float, name: str, groups: Mapping[str, Sequence[float]], low: int, high: int) -> list[str]:
    parts = [
        f'<text x="{left + WIDTH / 2}" y="{TOP - 12}" text-anchor="middle" font-weight="bold">{escape(name)}</text>'
    ]
    for power in range(low, high + 1):
        y = _height(10.0**power, low, high)
        parts.append(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{INK}" opacity="0.3"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    step = WIDTH / len(groups)
    for place, (group, bars) in enumerate(groups.items()):
        bar = step * 0.8 / len(bars)
        parts.append(
            f'<text x="{left + (place + 0.5) * step:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">'
            f"{escape(group)}</text>"
        )
        for number, value in enumerate(bars):
            x, y = left + place * step + step * 0.1 + number * bar, _height(value, low, high)
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{bar * 0.9:.1f}" height="{TOP + HEIGHT - y:.1f}" '
                f'fill="{COLOURS[number]}"/>'
            )
            parts.append(
                f'<text x="{x + bar * 0.45:.1f}" y="{y - 4:.1f}" text-anchor="middle" font-size="10">{value:.0f}</text>'
            )
    return parts


def _height(value: float, low: int, high: int) -> float:
    return TOP + HEIGHT * (1 - (math.log10(value) - low) / (high - low))
