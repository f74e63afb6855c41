"""The Pareto front: what students cost against how good they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from kdnas.files.curves import MINI_KD
from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.figures.scores import final_figure
from kdnas.report.model import Report, shown_name
from kdnas.report.page import Section, Table
from kdnas.report.search_summary import budgets_of
from kdnas.report.trials_table import candidate_of, finished, front, records
from kdnas.runtime.formatting import in_millions

TOLD = "How good students are, against what they cost."
BRIEFLY = (
    "Each dot is a student that was distilled briefly; its score is the share of the teacher's "
    "variance that it explains. No student beats those on the line."
)
FULLY = "Student and controls after full training, beside the teacher, by the task's own metric."
AGAIN = "The star is the winner, timed again at the end; its dot is where the search saw it."
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
    """A cost: a column of the trial table, its title, and whether the best lie on the right."""

    column: str
    title: str
    more_is_better: bool = False


AXES = {
    "speed-up": Axis("speedup", "speed-up over the teacher", True),
    "parameters": Axis("params", "parameters"),
    "MACs": Axis("macs", "multiply-accumulates of one example"),
}


def front_section(data: ReportData) -> Section:
    """The front by each cost and, once a student is finished, the final scores."""
    views = {name: front_figure(data, axis) for name, axis in AXES.items()}
    notes = {name: _note(data, axis) for name, axis in AXES.items()}
    if data.report and data.report.teacher.scores:
        views["final score"], notes["final score"] = final_figure(data.report), FULLY
    missing = "" if len(finished(data.table)) else "No trial is finished yet."
    return Section("front", "Pareto front", TOLD, views, _table(data), missing, notes)


def front_figure(data: ReportData, axis: Axis = AXES["speed-up"], title: str = "") -> go.Figure:
    """A cost against the mini-KD score, the front drawn.

    Args:
        data: Of the run.
        axis: The cost.
        title: Above the plot, where it stands alone.
    """
    figure = style.figure(height=480, title=style.plain(title) or None)
    if data.control is not None:
        drawn = dots(front_of(data.control, axis), axis, "random search", style.RANDOM, 6)
        figure.add_trace(drawn.update(mode="lines+markers", line={"dash": "dot", "width": 1.5}))
    best = front_of(data.table, axis)
    line = {"color": style.FRONT, "width": 2}
    figure.add_scatter(
        x=best[axis.column],
        y=best.score,
        mode="lines",
        hoverinfo="skip",
        name="Pareto front",
        line=line,
    )
    figure.add_trace(dots(finished(data.table), axis, "students", style.STUDENT, 9))
    if data.report:
        _mark_controls(figure, data, data.report, axis)
    figure.add_trace(_star(data, axis))
    _mark_teacher(figure, data, axis)
    figure.update_xaxes(axis_layout(axis))
    figure.update_yaxes(title={"text": SCORE})
    for value in _budgets(data, axis):
        dotted = {"color": style.MUTED, "width": 1, "dash": "dot"}
        figure.add_shape(type="line", x0=value, x1=value, y0=0, y1=1, yref="paper", line=dotted)
    return figure


def dots(
    rows: pd.DataFrame, axis: Axis, name: str, colour: str, size: int, symbol: str = "circle"
) -> go.Scatter:
    """Students as dots that show their architecture under the pointer."""
    outline = {"color": style.PAPER, "width": 1}
    return go.Scatter(
        x=rows[axis.column].astype(float),
        y=rows.score.astype(float),
        mode="markers",
        name=style.plain(name),
        customdata=rows[HOVER_COLUMNS].astype(object).to_numpy().tolist(),
        hovertemplate=f"{HOVER}<extra>{style.plain(name)}</extra>",
        marker={"size": size, "color": colour, "symbol": symbol, "line": outline},
    )


def axis_layout(axis: Axis) -> dict[str, Any]:
    """How a cost's axis looks."""
    return style.SPEEDUPS if axis.column == "speedup" else style.log_axis(axis.title, (1, 2, 5))


def front_of(table: pd.DataFrame, axis: Axis) -> pd.DataFrame:
    """Students that no other beats in both score and a cost."""
    return front(table, axis.column, descending=axis.more_is_better)


def winner_rows(data: ReportData) -> pd.DataFrame:
    """The winner's row, with its latency as timed again at the end, where it was."""
    rows = finished(data.table)
    chosen = rows[rows.number == data.winner]
    if not data.report:
        return chosen
    return chosen.assign(speedup=data.report.speedup, latency_ms=data.report.student.latency_ms)


def _star(data: ReportData, axis: Axis) -> go.Scatter:
    name = "winner" if data.report else "best so far"
    star = dots(winner_rows(data), axis, name, style.FRONT, 17, "star")
    if data.report:
        seen = data.table.speedup[data.table.number == data.winner]
        told = "".join(f"<br>timed again at the end; the search saw {s:.2f}x" for s in seen)
        star.update(hovertemplate=f"{HOVER}{told}<extra>{name}</extra>")
    return star


def _mark_teacher(figure: go.Figure, data: ReportData, axis: Axis) -> None:
    """A diamond at score 1: the teacher explains all of its own variance."""
    known = 1.0 if axis.column == "speedup" else None
    x = getattr(data.report.teacher, axis.column) if data.report else known
    if x is not None:
        label = data.teacher.label if data.teacher else "teacher"
        figure.add_scatter(
            x=[x],
            y=[1.0],
            mode="markers",
            name="teacher",
            marker={"symbol": "diamond", "size": 13, "color": style.TEACHER},
            hovertemplate=f"{style.plain(label)}<extra>teacher</extra>",
        )


def _mark_controls(figure: go.Figure, data: ReportData, report: Report, axis: Axis) -> None:
    """Squares around the controls that have a mini-KD score; without KD there is none."""
    scores = _control_scores(data, report)
    marked = [control for control in report.controls if control.name in scores]
    if marked:
        figure.add_scatter(
            x=[getattr(control, axis.column) for control in marked],
            y=[scores[control.name] for control in marked],
            text=[
                f"{style.plain(shown_name(c, report.speedup))}<br>{c.architecture.label}"
                for c in marked
            ],
            mode="markers",
            name="controls",
            marker={"symbol": "square-open", "size": 13, "color": style.CONTROL},
            hovertemplate="%{text}<br>score %{y:.4f}<extra>control</extra>",
        )


def _control_scores(data: ReportData, report: Report) -> dict[str, float]:
    """Mini-KD scores by control: of its own training, else of a trial of the same student."""
    trained = {c["name"]: c["heldout"] for c in data.curves if c["stage"] == MINI_KD}
    tried = {
        candidate_of(row).architecture: float(row["loss"])
        for table in (data.control, data.table)
        if table is not None
        for row in records(finished(table))
    }
    scores = {}
    for control in report.controls:
        if control.folder == FINE_TUNED:
            continue
        # A student that was distilled beside the winner has controls of its own.
        names = (f"trial-{report.student.trial} {control.folder}", control.folder)
        known = [trained[name] for name in names if name in trained]
        loss = (known or [tried.get(control.architecture)])[0]
        if loss is not None:
            scores[control.name] = 1 - loss
    return scores


# The folder of the control that is trained without KD.
FINE_TUNED = "fine-tuned"


def _budgets(data: ReportData, axis: Axis) -> list[float]:
    """Limits that are drawn as verticals."""
    if axis.column == "speedup":
        return budgets_of(data.settings)
    limit = data.settings.max_params
    return [limit] if axis.column == "params" and limit else []


def _note(data: ReportData, axis: Axis) -> str:
    words = [BRIEFLY]
    if axis.column == "speedup":
        asked = "the speed-up asked for" if data.settings.speedup else "common speed-up targets"
        words.append(f"Dotted verticals: {asked}.")
        words += [AGAIN] if data.report else []
    elif _budgets(data, axis):
        words.append("Dotted vertical: the most parameters allowed.")
    return " ".join(words)


def _table(data: ReportData) -> Table:
    head = ("student", "trial", "speed-up", "parameters", "MACs", "ms", "score", "reward")
    rows = [
        (
            candidate_of(row).label,
            f"{row['number']}",
            f"{row['speedup']:.2f}x",
            in_millions(row["params"], 2),
            in_millions(row["macs"], 0),
            f"{row['latency_ms']:.2f}",
            f"{row['score']:.4f}",
            f"{row['reward']:.4f}",
        )
        for row in records(front(data.table))
    ]
    return Table(head, rows)
