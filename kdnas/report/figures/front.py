"""The Pareto front: what a student costs against how good it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from kdnas.report.facts import Facts, label_of
from kdnas.report.figures import style
from kdnas.report.figures.final import final_figure
from kdnas.report.figures.marks import mark_controls, mark_teacher
from kdnas.report.page import Section, Table
from kdnas.report.search import budgets_of
from kdnas.report.table import finished, front, records
from kdnas.words import in_millions

SCORE = "score"
HOVER = (
    "trial %{customdata[0]}<br>%{customdata[1]} layers x %{customdata[3]} hidden"
    "<br>%{customdata[2]} heads, %{customdata[4]} neurons, %{customdata[5]}"
    "<br>%{customdata[6]:.3s} parameters, %{customdata[7]:.3s} MACs"
    "<br>%{customdata[8]:.2f} ms, %{customdata[9]:.2f} times as fast"
    "<br>score %{y:.4f}, reward %{customdata[10]:.4f}"
)
HOVER_COLUMNS = [
    *("number", "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"),
    *("hidden_act", "params", "macs", "latency_ms", "speedup", "reward"),
]


@dataclass(frozen=True)
class Axis:
    """A cost to look at.

    Attributes:
        column: Of the trial table.
        title: Under the plot.
        more_is_better: Whether the best lie on the right.
    """

    column: str
    title: str
    more_is_better: bool = False


AXES = {
    "speed-up": Axis("speedup", "speed-up over the teacher", True),
    "parameters": Axis("params", "parameters"),
    "MACs": Axis("macs", "multiply-accumulates of one example"),
}


def front_section(facts: Facts) -> Section:
    """The front by each cost, and of finished students the final score."""
    views = {name: front_figure(facts, axis) for name, axis in AXES.items()}
    if facts.report and facts.report["teacher"]["scores"]:
        views["final score"] = final_figure(facts.report)
    told = (
        "Each dot is a student that was distilled briefly; its score is the share of the teacher's "
        "variance that it explains. No student beats those on the line. Dotted lines: speed-ups "
        "that one may have to reach."
    )
    missing = "" if len(finished(facts.table)) else "No trial is finished yet."
    return Section("front", "Pareto front", told, views, _table(facts), missing)


def front_figure(facts: Facts, axis: Axis = AXES["speed-up"], title: str = "") -> go.Figure:
    """A cost against mini-KD score (1 - held-out loss), the front drawn.

    Args:
        facts: Of the run.
        axis: The cost.
        title: Above the plot, where it stands alone.
    """
    rows = finished(facts.table)
    figure = style.figure(height=480, title=style.plain(title) or None)
    if facts.control is not None:
        drawn = dots(front_of(facts.control, axis), axis, "random search", style.RANDOM, 6)
        figure.add_trace(drawn.update(mode="lines+markers", line={"dash": "dot", "width": 1.5}))
    best = front_of(facts.table, axis)
    line = {"x": best[axis.column], "y": 1 - best.loss, "mode": "lines", "hoverinfo": "skip"}
    figure.add_scatter(**line, name="Pareto front", line={"color": style.FRONT, "width": 2})
    figure.add_trace(dots(rows, axis, "students", style.STUDENT, 9))
    mark_controls(figure, facts, axis.column)
    chosen = rows[rows.number == facts.winner]
    name = "winner" if facts.report else "best so far"
    figure.add_trace(dots(chosen, axis, name, style.FRONT, 17, "star"))
    mark_teacher(figure, facts, axis.column)
    figure.update_xaxes(axis_layout(axis))
    figure.update_yaxes(title={"text": SCORE})
    if axis.column == "speedup":
        for speedup in budgets_of(facts.settings):
            _budget(figure, speedup)
    return figure


def dots(
    rows: pd.DataFrame, axis: Axis, name: str, colour: str, size: int, symbol: str = "circle"
) -> go.Scatter:
    """Students as dots that tell their architecture under the pointer."""
    return go.Scatter(
        x=rows[axis.column].astype(float),
        y=1 - rows.loss.astype(float),
        mode="markers",
        name=style.plain(name),
        customdata=rows[HOVER_COLUMNS].astype(object).to_numpy().tolist(),
        hovertemplate=f"{HOVER}<extra>{style.plain(name)}</extra>",
        marker={
            "size": size,
            "color": colour,
            "symbol": symbol,
            "line": {"color": style.PAPER, "width": 1},
        },
    )


def axis_layout(axis: Axis) -> dict[str, Any]:
    """How a cost's axis looks."""
    if axis.column == "speedup":
        return style.SPEEDUPS
    return style.log_axis(axis.title, (1, 2, 5))


def front_of(table: pd.DataFrame, axis: Axis) -> pd.DataFrame:
    """Students that no other beats in both score and a cost."""
    return front(table, axis.column, descending=axis.more_is_better)


def _budget(figure: go.Figure, speedup: float) -> None:
    line = {"color": style.MUTED, "width": 1, "dash": "dot"}
    figure.add_shape(type="line", x0=speedup, x1=speedup, y0=0, y1=1, yref="paper", line=line)


def _table(facts: Facts) -> Table:
    head = ("student", "trial", "speed-up", "parameters", "MACs", "ms", "score", "reward")
    rows = [
        (
            label_of(row),
            f"{row['number']}",
            f"{row['speedup']:.2f}x",
            in_millions(row["params"], 2),
            in_millions(row["macs"], 0),
            f"{row['latency_ms']:.2f}",
            f"{1 - row['loss']:.4f}",
            f"{row['reward']:.4f}",
        )
        for row in records(front(facts.table))
    ]
    return Table(head, rows)
