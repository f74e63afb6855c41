"""How figures look. Colours are those of the page's style sheet, light or dark."""

from __future__ import annotations

import html
import json
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

Axis = dict[str, Any]

INK = "var(--ink)"
PAPER = "var(--paper)"
MUTED = "var(--muted)"
GRID = "var(--grid)"
STUDENT = "var(--student)"
FRONT = "var(--front)"
RANDOM = "var(--random)"
TEACHER = "var(--teacher)"
CONTROL = "var(--control)"
GOOD = "var(--good)"
SCALE = ((0.0, "var(--low)"), (0.5, STUDENT), (1.0, "var(--high)"))
# Told apart with any kind of colour vision, and on either background.
SEVERAL = (STUDENT, FRONT, GOOD, CONTROL, RANDOM, TEACHER)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")

LIGHT = {
    **{"paper": "#ffffff", "ink": "#1d2530", "muted": "#5b6675", "grid": "#dfe3e8"},
    **{"student": "#1b6ca8", "front": "#d95f02", "random": "#8a8f98", "teacher": "#3a3f47"},
    **{"control": "#6a3d9a", "good": "#1b7f4d", "low": "#a9cbe8", "high": "#08457e"},
}

DOUBLINGS = range(-1, 8)
# The layout of an axis of speed-ups.
SPEEDUPS: Axis = {
    "title": {"text": "speed-up over the teacher"},
    "type": "log",
    "tickvals": [2.0**n for n in DOUBLINGS],
    "ticktext": [f"{2.0**n:g}x" for n in DOUBLINGS],
}
# The margin above a plot whose legend needs no room.
NO_LEGEND = {"t": 24}

_FONT = {"color": INK, "family": "system-ui, sans-serif"}
_AXIS = {
    **{"gridcolor": GRID, "linecolor": GRID, "tickcolor": GRID, "ticks": "outside"},
    **{"zeroline": False, "automargin": True, "title": {"standoff": 8}},
}
_TEMPLATE = go.layout.Template(
    layout={
        **{"paper_bgcolor": PAPER, "plot_bgcolor": PAPER, "font": {**_FONT, "size": 13}},
        **{"colorway": SEVERAL, "xaxis": _AXIS, "yaxis": _AXIS},
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": MUTED, "font": _FONT},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 48, "r": 16, "t": 56, "b": 48},
        "hovermode": "closest",
    }
)


def figure(x: str | Axis = "", y: str | Axis = "", height: int = 420, **layout: Any) -> go.Figure:
    """An empty figure in the page's style; an axis is given by its title or its layout."""
    axes = {
        f"{n}axis": {"title": {"text": a}} if isinstance(a, str) else a
        for n, a in zip("xy", (x, y), strict=True)
        if a
    }
    return go.Figure(layout={"template": _TEMPLATE, "height": height, **axes, **layout})


def log_axis(title: str, digits: Sequence[int] = (1, 2, 3, 5, 7), form: str = "~g") -> Axis:
    """A logarithmic axis with ticks at these multiples of powers of ten, written in this form."""
    ticks = [digit * 10.0**power for power in range(-4, 13) for digit in digits]
    return {"title": {"text": title}, "type": "log", "tickvals": ticks, "tickformat": form}


def error_bars(values: Sequence[float], ends: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """Bars from each value to its lower and its upper end."""
    pairs = list(zip(values, ends, strict=True))
    return {
        "array": [high - value for value, (_, high) in pairs],
        "arrayminus": [value - low for value, (low, _) in pairs],
    }


def plain(text: object) -> str:
    """Text for a figure; plotly reads some HTML."""
    return html.escape(str(text), quote=False)


def wrapped(text: str) -> str:
    """Text for the label of a row, in lines that leave room for the plot on a phone."""
    return "<br>".join(map(plain, textwrap.wrap(text, 18)))


def fixed(figure: go.Figure) -> go.Figure:
    """The same figure in the light colours themselves, for a picture outside the page."""
    text = re.sub(r"var\(--([a-z]+)\)", lambda match: LIGHT[match[1]], figure.to_json())
    made: go.Figure = go.Figure(json.loads(text))
    return made
