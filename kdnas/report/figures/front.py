"""The Pareto front: what students cost against how good they are."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from kdnas.report.about import predict_line
from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.figures.scores import final_figure
from kdnas.report.model import Report, shown_name
from kdnas.report.page import Section, Table
from kdnas.report.search_summary import budgets_of
from kdnas.report.trials_table import cells, finished, front, records
from kdnas.report.worth import control_score
from kdnas.space.architecture import EMBEDDINGS
from kdnas.space.candidate import DEFAULT_RECIPE
from kdnas.study.rows import candidate_of

TOLD = "How good students are, against what they cost."
BRIEFLY = (
    "Each dot is a student that was distilled briefly; its score is {}. No student beats those on "
    "the line."
)
EXPLAINED = "the share of the teacher's variance that it explains"
AGREED = "how far it predicts what the teacher predicts, after a short run of its recipe"
FULLY = "{} after full training, beside the teacher, by the task's own metric."
AGAIN = " The star is the winner, timed again at the end; its dot is where the search saw it."
HOVER = (
    "trial %{customdata[0]}%{customdata[11]}<br>%{customdata[1]} layers x %{customdata[3]} hidden"
    "<br>%{customdata[2]} heads, %{customdata[4]} neurons, %{customdata[5]}"
    "<br>%{customdata[6]:.3s} parameters, %{customdata[7]:.3s} MACs"
    "<br>%{customdata[8]:.2f} ms, %{customdata[9]:.2f} times as fast"
    "<br>score %{y:.4f}, reward %{customdata[10]:.4f}"
)
HOVER_COLUMNS = [
    *("number", "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size"),
    *("hidden_act", "params", "macs", "latency_ms", "speedup", "reward"),
]
# Costs by the name of their view: columns of the trial table, and how their axes look.
COSTS = {"speed-up": "speedup", "parameters": "params", "MACs": "macs"}
AXES = {
    "speedup": style.SPEEDUPS,
    "params": style.log_axis("parameters", (1, 2, 5), "~s"),
    "macs": style.log_axis("multiply-accumulates of one example", (1, 2, 5), "~s"),
}
HEAD = ("student", "trial", "speed-up", "parameters", "MACs", "ms", "score", "reward")
IN_TABLE = ("number", "speedup", "params", "macs", "latency_ms", "score", "reward")


def front_section(data: ReportData) -> Section:
    """The front by each cost and, once a student is finished, the final scores.

    A click on a dot, or a button in its row, gives the command that makes the student.
    """
    data = data.as_held
    views = {name: front_figure(data, cost) for name, cost in COSTS.items()}
    briefly = BRIEFLY.format(AGREED if data.settings.scores_agreement else EXPLAINED)
    notes = {name: briefly + _note(data, cost) for name, cost in COSTS.items()}
    if data.report and data.report.teacher.scores:
        who = "Student and controls" if data.report.controls else "The student"
        views["final score"], notes["final score"] = final_figure(data.report), FULLY.format(who)
    missing = "" if len(finished(data.table)) else "No trial is finished yet."
    best = records(front(data.table))
    table = Table(
        HEAD,
        [(candidate_of(row).label, *cells(row, *IN_TABLE)) for row in best],
        caption="The students of the front, the fastest first.",
        commands=[command_of(data, int(row["number"])) for row in best],
    )
    clicked = "" if missing else "Click on a dot for the command that makes its student."
    return Section("front", "Pareto front", TOLD, views, table, missing, notes, clicked=clicked)


def command_of(data: ReportData, trial: int) -> str:
    """The command that makes a student; of the one that is reported, the command that uses it."""
    if data.report and data.report.student.trial == trial:
        return predict_line(data.report, data.names.model)
    return f"kdnas distill {data.names.run} --trial {trial}"


def _note(data: ReportData, cost: str) -> str:
    if cost == "speedup":
        asked = "the speed-up asked for" if data.settings.speedup else "common speed-up targets"
        return f" Dotted verticals: {asked}.{AGAIN if data.report else ''}"
    limited = cost == "params" and data.settings.max_params
    return " Dotted vertical: the most parameters allowed." if limited else ""


def front_figure(data: ReportData, cost: str = "speedup", title: str = "") -> go.Figure:
    """A cost (a key of AXES) against the mini-KD score; a title for where it stands alone."""
    figure = style.figure(AXES[cost], "score", 480, title=style.plain(title) or None)
    if data.control is not None:
        drawn = dots(front(data.control, cost), cost, "random search", style.RANDOM, 7, "x")
        figure.add_trace(drawn.update(mode="lines+markers", line={"dash": "dot", "width": 1.5}))
    best = front(data.table, cost)
    figure.add_scatter(
        x=best[cost],
        y=best.score,
        mode="lines",
        hoverinfo="skip",
        name="Pareto front",
        line={"color": style.FRONT, "width": 2},
    )
    students = dots(finished(data.table), cost, "students", style.STUDENT, 9)
    figure.add_trace(students.update(meta=commands(data)))
    if data.report:
        _mark_controls(figure, data, data.report, cost)
    figure.add_trace(_star(data, cost))
    _mark_teacher(figure, data, cost)
    limits: dict[str, list[float]] = {"speedup": budgets_of(data.settings)}
    if data.settings.max_params:
        limits["params"] = [data.settings.max_params]
    for value in limits.get(cost, []):
        dotted = {"color": style.MUTED, "width": 1, "dash": "dot"}
        figure.add_shape(type="line", x0=value, x1=value, y0=0, y1=1, yref="paper", line=dotted)
    return style.clip(figure, "y", ("teacher", "winner", "best so far"))


def commands(data: ReportData) -> dict[str, str]:
    """What the page shows where a student is clicked on: `command` and its trial's number."""
    report = data.report
    trial = report.student.trial if report else None
    known = {"command": f"kdnas distill {data.names.run} --trial "}
    if trial is not None:
        known |= {"winner": str(trial), "shipped": command_of(data, trial)}
    return known


def dots(
    rows: pd.DataFrame, cost: str, name: str, colour: str, size: int, symbol: str = "circle"
) -> go.Scatter:
    """Students as dots that show their architecture under the pointer."""
    outline = {"color": style.PAPER, "width": 1}
    return go.Scatter(
        x=rows[cost].astype(float),
        y=rows.score.astype(float),
        mode="markers",
        name=style.plain(name),
        customdata=[
            [*values, _recipe(recipe) + _embeddings(size)]
            for values, recipe, size in zip(
                rows[HOVER_COLUMNS].astype(object).to_numpy().tolist(),
                rows.recipe,
                rows.get(EMBEDDINGS, pd.Series(0, rows.index)),
                strict=True,
            )
        ],
        hovertemplate=f"{HOVER}<extra>{style.plain(name)}</extra>",
        marker={"size": size, "color": colour, "symbol": symbol, "line": outline},
    )


def _recipe(name: object) -> str:
    """A trial's recipe under the pointer, where it is not the default."""
    named = isinstance(name, str) and name != DEFAULT_RECIPE
    return f", {style.plain(name)}" if named else ""


def _embeddings(size: Any) -> str:
    """The width of a trial's embeddings under the pointer, where they are factorised."""
    return f", embeddings of {size:.0f}" if pd.notna(size) and size else ""


def winner_rows(data: ReportData) -> pd.DataFrame:
    """The winner's row, with its latency as timed again at the end, where it was."""
    rows = finished(data.table)
    chosen = rows[rows.number == data.winner]
    if not data.report:
        return chosen
    return chosen.assign(speedup=data.report.speedup, latency_ms=data.report.student.latency_ms)


def _star(data: ReportData, cost: str) -> go.Scatter:
    name = "winner" if data.report else "best so far"
    star = dots(winner_rows(data), cost, name, style.FRONT, 17, "star").update(meta=commands(data))
    if data.report:
        seen = data.table.speedup[data.table.number == data.winner]
        told = "".join(f"<br>timed again at the end; the search saw {s:.2f}x" for s in seen)
        star.update(hovertemplate=f"{HOVER}{told}<extra>{name}</extra>")
    return star


def _mark_teacher(figure: go.Figure, data: ReportData, cost: str) -> None:
    """A diamond at score 1: the teacher explains all of its own variance."""
    if data.report or cost == "speedup":
        label = data.teacher.label if data.teacher else "teacher"
        if data.settings.teacher_predictions is not None:
            label = f"at the cost of the student base, {label}"
        figure.add_scatter(
            x=[getattr(data.report.teacher, cost) if data.report else 1.0],
            y=[1.0],
            mode="markers",
            name="teacher",
            marker={"symbol": "diamond", "size": 13, "color": style.TEACHER},
            hovertemplate=f"{style.plain(label)}<extra>teacher</extra>",
        )


def _mark_controls(figure: go.Figure, data: ReportData, report: Report, cost: str) -> None:
    """Squares around the controls that have a mini-KD score; without KD there is none."""
    points = []
    for control in report.controls:
        score = control_score(data, report, control)
        if score is not None:
            name = style.plain(shown_name(control, report.speedup))
            label = f"{name}<br>{control.architecture.label}"
            points.append((getattr(control, cost), score, label))
    if points:
        x, y, text = zip(*points, strict=True)
        figure.add_scatter(
            x=x,
            y=y,
            text=text,
            mode="markers",
            name="controls",
            marker={"symbol": "square-open", "size": 13, "color": style.CONTROL},
            hovertemplate="%{text}<br>score %{y:.4f}<extra>control</extra>",
        )
