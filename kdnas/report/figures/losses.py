"""Loss curves of mini-KD and of full KD."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from kdnas.files.curves import MINI_KD
from kdnas.report.facts import Facts
from kdnas.report.figures import style
from kdnas.report.page import Section, Table

TITLE = "Loss curves"
TOLD = (
    "Training loss of one batch now and then, so it jitters. Losses of different stages are not "
    "comparable; mini-KD is ranked by the held-out loss, in the table."
)
OLD = "This run has no curves.jsonl: an older version made it, or nothing has been trained yet."
DASHES = ("solid", "dash", "dot", "dashdot")


def losses_section(facts: Facts) -> Section:
    """Every candidate of mini-KD, the winner in front; every stage of the full trainings."""
    if not facts.curves:
        return Section("losses", TITLE, TOLD, missing=OLD)
    mini = [c for c in facts.curves if c["stage"] == MINI_KD]
    full = [c for c in facts.curves if c["stage"] != MINI_KD]
    views = {}
    if mini:
        views["mini-KD"] = _mini(mini, f"trial {facts.winner}")
    if full:
        views["full KD"] = _full(full)
    rows = [
        (
            curve["name"],
            curve["stage"],
            f"{curve['points'][-1][0]}" if curve["points"] else "",
            f"{curve['points'][-1][1]:.4f}" if curve["points"] else "",
            "" if curve["heldout"] is None else f"{curve['heldout']:.4f}",
        )
        for curve in facts.curves
    ]
    head = ("student", "stage", "steps", "last loss", "held-out loss")
    return Section("losses", TITLE, TOLD, views, Table(head, rows))


def _mini(curves: list[dict[str, Any]], winner: str) -> go.Figure:
    figure = _empty()
    for curve in sorted(curves, key=lambda c: c["name"] == winner):
        best = curve["name"] == winner
        _line(
            figure,
            curve,
            name=f"winner, {winner}" if best else "candidates",
            line={"color": style.FRONT if best else style.STUDENT, "width": 3 if best else 1},
            opacity=1 if best else 0.45,
        )
    shown = set()
    for trace in figure.data:  # one entry in the legend for all candidates
        trace.showlegend = trace.name not in shown
        trace.legendgroup = trace.name
        shown.add(trace.name)
    return figure


def _full(curves: list[dict[str, Any]]) -> go.Figure:
    figure = _empty()
    students = list(dict.fromkeys(curve["name"] for curve in curves))
    dashes: dict[str, int] = {}
    for curve in curves:
        dash = dashes[curve["name"]] = dashes.get(curve["name"], -1) + 1
        colour = style.SEVERAL[students.index(curve["name"]) % len(style.SEVERAL)]
        _line(
            figure,
            curve,
            name=f"{curve['name']}: {curve['stage']}",
            line={"color": colour, "dash": DASHES[dash % len(DASHES)], "width": 2},
        )
    return figure


def _empty() -> go.Figure:
    figure = style.figure()
    figure.update_xaxes(title={"text": "step"})
    figure.update_yaxes(style.log_axis("training loss"), tickformat="~g")
    return figure


def _line(figure: go.Figure, curve: dict[str, Any], name: str, **look: Any) -> None:
    words = style.plain(f"{curve['name']}: {curve['stage']}")
    figure.add_scatter(
        x=[step for step, _ in curve["points"]],
        y=[loss for _, loss in curve["points"]],
        mode="lines",
        name=style.plain(name),
        hovertemplate=f"{words}<br>step %{{x}}: %{{y:.4f}}<extra></extra>",
        **look,
    )
