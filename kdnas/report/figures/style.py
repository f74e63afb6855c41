"""How figures look. Colours are those of the page's style sheet, light or dark."""

from __future__ import annotations

import html
import json
import re
import textwrap
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
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
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star-triangle-down")
# Points are far out beyond so many times the middle half's width, and are moved to the edge where
# they would leave less than this share of the axis to all others.
FAR, SQUASHED = 3.0, 1 / 3
FEWEST_POINTS = 4

LIGHT = {
    **{"paper": "#ffffff", "ink": "#1d2530", "muted": "#5b6675", "grid": "#dfe3e8"},
    **{"student": "#0072b2", "front": "#d55e00", "random": "#7a7f87", "teacher": "#1d2530"},
    **{"control": "#b85c95", "good": "#00805d", "low": "#a9cbe8", "high": "#08457e"},
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
        # Upright, where it covers no legend.
        "modebar": {"orientation": "v", "bgcolor": "rgba(0,0,0,0)"},
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


def wrapped(text: str, width: int = 18) -> str:
    """Text for the label of a row, in lines that leave room for the plot on a phone."""
    return "<br>".join(map(plain, textwrap.wrap(text, width)))


def fixed(figure: go.Figure) -> go.Figure:
    """The same figure in the light colours themselves, for a picture outside the page."""
    text = re.sub(r"var\(--([a-z]+)\)", lambda match: LIGHT[match[1]], figure.to_json())
    made: go.Figure = go.Figure(json.loads(text))
    return made


def clip(figure: go.Figure, axis: Literal["x", "y"], keep: Sequence[str] = ()) -> go.Figure:
    """Ranges an axis by most of its dots: few that are far out stand at its edge, as triangles.

    Nothing changes where all dots have room.

    Args:
        figure: Changed in place; its dots are on a linear axis.
        axis: The axis.
        keep: Names of traces whose dots are never far out, such as the teacher's.
    """
    traces = [t for t in figure.data if "markers" in (t.mode or "")]
    values = [np.asarray(trace[axis], np.float64) for trace in traces]
    every = np.concatenate(values) if values else np.zeros(0)
    every = every[np.isfinite(every)]
    if len(every) < FEWEST_POINTS:
        return figure
    first, third = np.quantile(every, (0.25, 0.75))
    fence = FAR * (third - first)
    free = np.concatenate(
        [v[np.isfinite(v)] for t, v in zip(traces, values, strict=True) if t.name in keep]
        or [np.zeros(0)]
    )
    near = every[(every >= first - fence) & (every <= third + fence)]
    near = np.concatenate([near, free, *_bars(traces, values, axis, first - fence, third + fence)])
    low, high = float(near.min()), float(near.max())
    if high - low >= SQUASHED * (max(every.max(), high) - min(every.min(), low)):
        return figure
    room = 0.06 * ((high - low) or abs(high) or 1.0)
    low, high = low - 2 * room, high + 2 * room
    figure.update_layout({f"{axis}axis": {"range": [low, high], "autorange": False}})
    for trace, there in zip(traces, values, strict=True):
        _move_to_edge(figure, trace, there, axis, (low, high))
    return figure


def _bars(
    traces: Sequence[Any], values: Sequence[Any], axis: str, low: float, high: float
) -> list[Any]:
    """The ends of the error bars of dots within some limits."""
    ends = []
    for trace, there in zip(traces, values, strict=True):
        bars, near = trace[f"error_{axis}"], (there >= low) & (there <= high)
        if bars.array is not None and bars.visible is not False:
            ends.append((there + np.asarray(bars.array, np.float64))[near])
            ends.append((there - np.asarray(bars.arrayminus, np.float64))[near])
    return ends


def _move_to_edge(
    figure: go.Figure, trace: Any, values: Any, axis: str, ends: tuple[float, float]
) -> None:
    """Draws a trace's dots that are beyond the ends of an axis at its edge."""
    symbols = {"x": ("triangle-left", "triangle-right"), "y": ("triangle-down", "triangle-up")}
    other = "y" if axis == "x" else "x"
    where = np.asarray(trace[other], dtype=object)
    for end, symbol, out in zip(
        ends, symbols[axis], (values < ends[0], values > ends[1]), strict=True
    ):
        if not out.any():
            continue
        colour = trace.marker.color
        if isinstance(colour, list | tuple):
            colour = [c for c, far in zip(colour, out, strict=True) if far]
        inward = 0.03 * (ends[1] - ends[0]) * (1 if end == ends[0] else -1)
        marks = {
            other: where[out].tolist(),
            axis: [end + inward] * int(out.sum()),
        }
        figure.add_scatter(
            **marks,
            mode="markers",
            name="off the scale",
            legendgroup="off the scale",
            showlegend=not any(t.name == "off the scale" for t in figure.data),
            text=[f"{value:.4g}" for value in values[out]],
            marker={"symbol": symbol, "size": 13, "color": colour or MUTED},
            hovertemplate=f"{trace.name}: %{{text}}, off the scale<extra></extra>",
        )
