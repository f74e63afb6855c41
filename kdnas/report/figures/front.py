"""The Pareto front: what a student costs against how good it is."""

from __future__ import annotations

import plotly.graph_objects as go

from kdnas.report.facts import Facts, label_of
from kdnas.report.figures import style
from kdnas.report.figures.final import final_figure
from kdnas.report.figures.marks import mark_controls, mark_teacher
from kdnas.report.figures.students import (
    AXES,
    HOVER,
    SCORE,
    Axis,
    axis_layout,
    dots,
    front_of,
    winner_rows,
)
from kdnas.report.page import Section, Table
from kdnas.report.search import budgets_of
from kdnas.report.table import finished, front, records
from kdnas.runtime.formatting import in_millions

TOLD = "How good students are, against what they cost."
BRIEFLY = (
    "Each dot is a student that was distilled briefly; its score is the share of the teacher's "
    "variance that it explains. No student beats those on the line."
)
FULLY = "Student and controls after full training, beside the teacher, by the task's own metric."
AGAIN = "The star is the winner, timed again at the end; its dot is where the search saw it."


def front_section(facts: Facts) -> Section:
    """The front by each cost, and of finished students the final score."""
    views = {name: front_figure(facts, axis) for name, axis in AXES.items()}
    notes = {name: _note(facts, axis) for name, axis in AXES.items()}
    if facts.report and facts.report["teacher"]["scores"]:
        views["final score"], notes["final score"] = final_figure(facts.report), FULLY
    missing = "" if len(finished(facts.table)) else "No trial is finished yet."
    return Section("front", "Pareto front", TOLD, views, _table(facts), missing, notes)


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
    figure.add_trace(_star(facts, axis))
    mark_teacher(figure, facts, axis.column)
    figure.update_xaxes(axis_layout(axis))
    figure.update_yaxes(title={"text": SCORE})
    for value in _budgets(facts, axis):
        line = {"color": style.MUTED, "width": 1, "dash": "dot"}
        figure.add_shape(type="line", x0=value, x1=value, y0=0, y1=1, yref="paper", line=line)
    return figure


def _star(facts: Facts, axis: Axis) -> go.Scatter:
    name = "winner" if facts.report else "best so far"
    star = dots(winner_rows(facts), axis, name, style.FRONT, 17, "star")
    if facts.report:
        seen = facts.table.speedup[facts.table.number == facts.winner]
        told = "".join(f"<br>timed again at the end; the search saw {s:.2f}x" for s in seen)
        star.update(hovertemplate=f"{HOVER}{told}<extra>{name}</extra>")
    return star


def _budgets(facts: Facts, axis: Axis) -> list[float]:
    """What students must keep, or may have to."""
    if axis.column == "speedup":
        return budgets_of(facts.settings)
    limit = facts.settings.max_params
    return [limit] if axis.column == "params" and limit else []


def _note(facts: Facts, axis: Axis) -> str:
    words = [BRIEFLY]
    if axis.column == "speedup":
        asked = "the speed-up asked for" if facts.settings.speedup else "speed-ups one may need"
        words.append(f"Dotted verticals: {asked}.")
        words += [AGAIN] if facts.report else []
    elif _budgets(facts, axis):
        words.append("Dotted vertical: the most parameters allowed.")
    return " ".join(words)


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
