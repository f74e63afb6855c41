"""Students as dots: what they cost, how good they are, and what the pointer tells of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from kdnas.report.facts import Facts
from kdnas.report.figures import style
from kdnas.report.table import finished, front

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


def winner_rows(facts: Facts) -> pd.DataFrame:
    """The winner's row, with what it took when it was timed again, where it was."""
    rows = finished(facts.table)
    chosen = rows[rows.number == facts.winner]
    if not facts.report:
        return chosen
    ms = facts.report["student"]["latency_ms"]
    return chosen.assign(speedup=facts.report["speedup"], latency_ms=ms)
