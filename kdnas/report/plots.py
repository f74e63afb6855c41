"""pareto.html: how fast against how good, a dot a trial."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import plotly.graph_objects as go

from kdnas.files import write_text
from kdnas.report.table import finished, front

HOVER = (
    "trial %{customdata[0]}<br>%{customdata[1]} layers x %{customdata[3]} hidden"
    "<br>%{customdata[2]} heads, %{customdata[4]} neurons, %{customdata[5]}"
    "<br>%{customdata[6]:.3s} parameters, %{customdata[7]:.3s} MACs"
    "<br>%{customdata[8]:.2f} ms, %{x:.2f} times as fast"
    "<br>score %{y:.4f}, reward %{customdata[9]:.4f}<extra></extra>"
)
TICKS = [0.5, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64]
HOVER_COLUMNS = [
    "number",
    "num_hidden_layers",
    "num_attention_heads",
    "hidden_size",
    "intermediate_size",
    "hidden_act",
    "params",
    "macs",
    "latency_ms",
    "reward",
]


def pareto_figure(
    table: pd.DataFrame, control: pd.DataFrame | None, winner: int | None, title: str
) -> go.Figure:
    """Speed-up against mini-KD score (1 - held-out loss), the front drawn.

    Args:
        table: The trial table.
        control: That of random search, whose front is drawn too, or None.
        winner: Number of the trial to mark, or None.
        title: Above the plot.
    """
    rows, best = finished(table), front(table)
    figure = go.Figure()
    line = {"x": best.speedup, "y": 1 - best.loss, "mode": "lines", "name": "Pareto front"}
    figure.add_scatter(**line, line={"color": "#d95f02", "width": 2}, hoverinfo="skip")
    if control is not None:
        drawn = front(control)
        figure.add_trace(_dots(drawn, "random search, its front", color="#999999", size=7))
        figure.data[-1].update(mode="lines+markers", line={"color": "#bbbbbb", "dash": "dot"})
    figure.add_trace(_dots(rows, "students", color="#1b6ca8", size=9))
    figure.add_trace(_dots(rows[rows.number == winner], "winner", color="#d95f02", symbol="star"))
    figure.add_scatter(
        x=[1.0],
        y=[1.0],
        mode="markers",
        name="teacher",
        marker={"symbol": "diamond", "size": 14, "color": "#333333"},
        hovertemplate="teacher<extra></extra>",
    )
    figure.update_layout(
        title=title,
        template="plotly_white",
        height=560,
        xaxis={
            "title": "speed-up over the teacher (latency ratio)",
            "type": "log",
            "tickvals": TICKS,
            "ticktext": [f"{tick:g}x" for tick in TICKS],
        },
        yaxis={"title": "score: share of the teacher's variance explained"},
        legend={"orientation": "h", "y": -0.2},
    )
    return figure


def write_pareto(path: Path, figure: go.Figure) -> None:
    """The figure as one self-contained page."""
    page = figure.to_html(include_plotlyjs=True, full_html=True, config={"responsive": True})
    write_text(path, page)


def _dots(
    rows: pd.DataFrame, name: str, *, color: str, size: int = 16, symbol: str = "circle"
) -> go.Scatter:
    return go.Scatter(
        x=rows.speedup,
        y=1 - rows.loss,
        mode="markers",
        name=name,
        customdata=rows[HOVER_COLUMNS].astype(object).to_numpy(),
        hovertemplate=HOVER,
        marker={"size": size, "color": color, "symbol": symbol},
    )
