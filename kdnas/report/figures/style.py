"""How figures look. Colours are those of the page's style sheet, light or dark."""

from __future__ import annotations

import html
import json
import re
from typing import Any

import plotly.graph_objects as go

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
SPEEDUPS: dict[str, Any] = {
    "title": {"text": "speed-up over the teacher"},
    "type": "log",
    "tickvals": [2.0**n for n in DOUBLINGS],
    "ticktext": [f"{2.0**n:g}x" for n in DOUBLINGS],
}


def log_axis(title: str, digits: tuple[int, ...] = (1, 2, 3, 5, 7)) -> dict[str, Any]:
    """The layout of a logarithmic axis, with ticks at these multiples of powers of ten."""
    ticks = [digit * 10.0**power for power in range(-4, 13) for digit in digits]
    return {"title": {"text": title}, "type": "log", "tickvals": ticks, "tickformat": "~s"}


# The margin above a plot whose legend needs no room.
NO_LEGEND = {"t": 24}

_AXIS = {
    "gridcolor": GRID,
    "linecolor": GRID,
    "zeroline": False,
    "ticks": "outside",
    "tickcolor": GRID,
    "automargin": True,
    "title": {"standoff": 8},
}
_TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "font": {"color": INK, "size": 13, "family": "system-ui, sans-serif"},
        "colorway": SEVERAL,
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "hoverlabel": {
            "bgcolor": PAPER,
            "bordercolor": MUTED,
            "font": {"color": INK, "family": "system-ui, sans-serif"},
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 48, "r": 16, "t": 56, "b": 48},
        "hovermode": "closest",
    }
)


def figure(height: int = 420, **layout: Any) -> go.Figure:
    """An empty figure in the page's style."""
    return go.Figure(layout={"template": _TEMPLATE, "height": height, **layout})


def plain(text: object) -> str:
    """Text for a figure; plotly reads some HTML."""
    return html.escape(str(text), quote=False)


def fixed(figure: go.Figure) -> go.Figure:
    """The same figure in the light colours themselves, for a picture outside the page."""
    text = re.sub(r"var\(--([a-z]+)\)", lambda match: LIGHT[match[1]], figure.to_json())
    made: go.Figure = go.Figure(json.loads(text))
    return made
