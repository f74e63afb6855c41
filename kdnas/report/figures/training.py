"""How students were trained: loss curves, and the winner's layer map."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from kdnas.distillation.layer_map import LayerMap
from kdnas.files.curves import MINI_KD
from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.page import Section, Table

LOSSES = "Loss curves"
LOSSES_TOLD = (
    "Training loss of one batch now and then, so it jitters. Losses of different stages are not "
    "comparable; mini-KD is ranked by the held-out loss, in the table."
)
LAYERS = "Layer map"
LAYERS_TOLD = (
    "Which teacher layers each layer of the winner learns to predict: skip takes every n-th one, "
    "last the last ones. Layers count from 1."
)
DASHES = ("solid", "dash", "dot", "dashdot")
PARTS = {"skip": (style.STUDENT, "solid"), "last": (style.FRONT, "dash")}
LEFT, RIGHT = 0.0, 1.0

Curve = dict[str, Any]


def losses_section(data: ReportData) -> Section:
    """Every candidate of mini-KD, the winner in front; every stage of the full trainings."""
    if not data.curves:
        missing = "Nothing has been trained yet: there is no curves.jsonl."
        return Section("losses", LOSSES, LOSSES_TOLD, missing=missing)
    mini = [c for c in data.curves if c["stage"] == MINI_KD]
    full = [c for c in data.curves if c["stage"] != MINI_KD]
    views = {}
    if mini:
        views["mini-KD"] = _mini(mini, f"trial {data.winner}")
    if full:
        views["full KD"] = _full(full)
    head = ("student", "stage", "steps", "last loss", "held-out loss")
    rows = [_row(curve) for curve in data.curves]
    return Section("losses", LOSSES, LOSSES_TOLD, views, Table(head, rows))


def _row(curve: Curve) -> tuple[str, ...]:
    step, loss = curve["points"][-1] if curve["points"] else (None, None)
    heldout = curve["heldout"]
    return (
        curve["name"],
        curve["stage"],
        "" if step is None else f"{step}",
        "" if loss is None else f"{loss:.4f}",
        "" if heldout is None else f"{heldout:.4f}",
    )


def _mini(curves: list[Curve], winner: str) -> go.Figure:
    figure = _empty()
    shown = set()
    for curve in sorted(curves, key=lambda c: c["name"] == winner):
        best = curve["name"] == winner
        name = f"winner, {winner}" if best else "candidates"
        line = {"color": style.FRONT, "width": 3} if best else {"color": style.STUDENT, "width": 1}
        _line(
            figure,
            curve,
            name=name,
            line=line,
            opacity=1 if best else 0.45,
            legendgroup=name,
            showlegend=name not in shown,  # one entry for all candidates
        )
        shown.add(name)
    return figure


def _full(curves: list[Curve]) -> go.Figure:
    figure = _empty()
    students = list(dict.fromkeys(curve["name"] for curve in curves))
    stages: dict[str, int] = dict.fromkeys(students, 0)
    for curve in curves:
        name = curve["name"]
        colour = style.SEVERAL[students.index(name) % len(style.SEVERAL)]
        dash = DASHES[stages[name] % len(DASHES)]
        stages[name] += 1
        line = {"color": colour, "dash": dash, "width": 2}
        _line(figure, curve, name=f"{name}: {curve['stage']}", line=line)
    return figure


def _empty() -> go.Figure:
    figure = style.figure()
    figure.update_xaxes(title={"text": "step"})
    figure.update_yaxes(style.log_axis("training loss"), tickformat="~g")
    return figure


def _line(figure: go.Figure, curve: Curve, name: str, **look: Any) -> None:
    words = style.plain(f"{curve['name']}: {curve['stage']}")
    figure.add_scatter(
        x=[step for step, _ in curve["points"]],
        y=[loss for _, loss in curve["points"]],
        mode="lines",
        name=style.plain(name),
        hovertemplate=f"{words}<br>step %{{x}}: %{{y:.4f}}<extra></extra>",
        **look,
    )


def layers_section(data: ReportData) -> Section:
    """Student on the left, teacher on the right, an edge for each target."""
    shape, teacher = data.winner_shape, data.teacher
    if shape is None or teacher is None:
        missing = "No student is scored yet." if teacher else "The teacher's depth is not known."
        return Section("layers", LAYERS, LAYERS_TOLD, missing=missing)
    depth = teacher.num_hidden_layers
    mapping = LayerMap.named(data.settings.mapping, shape.num_hidden_layers, depth)
    parts = data.settings.mapping.split("+")
    rows = [
        (f"{layer}", *map(str, target))
        for layer, target in zip(mapping.student_layers, mapping.targets, strict=True)
    ]
    head = ("student layer", *(f"teacher layer, {part}" for part in parts))
    figure = _map_figure(mapping, parts, shape.num_hidden_layers, depth)
    told = f"{LAYERS_TOLD} Student: {shape.label}. Teacher: {teacher.label}."
    return Section("layers", LAYERS, told, {"map": figure}, Table(head, rows))


def _map_figure(mapping: LayerMap, parts: list[str], student: int, teacher: int) -> go.Figure:
    figure = style.figure(height=120 + 34 * teacher)
    pairs = list(zip(mapping.student_layers, mapping.targets, strict=True))
    for i, part in enumerate(parts):
        colour, dash = PARTS[part]
        figure.add_scatter(
            x=[LEFT, RIGHT, None] * len(pairs),
            y=[y for layer, to in pairs for y in (layer * teacher / student, to[i], None)],
            mode="lines",
            name=part,
            line={"color": colour, "dash": dash, "width": 2},
            hoverinfo="skip",
        )
    # Student layers are spread over the teacher's height.
    for x, name, count in ((LEFT, "student", student), (RIGHT, "teacher", teacher)):
        figure.add_scatter(
            x=[x] * count,
            y=[(i + 1) * teacher / count for i in range(count)],
            mode="markers+text",
            text=[str(i + 1) for i in range(count)],
            textfont={"color": style.PAPER},
            marker={"size": 24, "color": style.TEACHER if x == RIGHT else style.STUDENT},
            name=name,
            showlegend=False,
            hovertemplate=f"{name} layer %{{text}}<extra></extra>",
        )
    ticks = {"tickvals": [LEFT, RIGHT], "ticktext": ["student", "teacher"]}
    figure.update_xaxes(ticks, range=[-0.25, 1.25], showgrid=False, fixedrange=True)
    figure.update_yaxes(visible=False, range=[0.3, teacher + 0.7], fixedrange=True)
    return figure
