"""The layer map of the winner: which teacher layers each of its layers learns from."""

from __future__ import annotations

import plotly.graph_objects as go

from kdnas.distillation.layer_map import LayerMap
from kdnas.report.facts import Facts
from kdnas.report.figures import style
from kdnas.report.page import Section, Table

TITLE = "Layer map"
TOLD = (
    "Which teacher layers each layer of the winner learns to predict: skip takes every n-th one, "
    "last the last ones. Layers count from 1."
)
PARTS = {"skip": (style.STUDENT, "solid"), "last": (style.FRONT, "dash")}
LEFT, RIGHT = 0.0, 1.0


def layers_section(facts: Facts) -> Section:
    """Student on the left, teacher on the right, an edge for each target."""
    shape, teacher = facts.winner_shape, facts.teacher
    if shape is None or teacher is None:
        missing = "No student is scored yet." if teacher else "The teacher's depth is not known."
        return Section("layers", TITLE, TOLD, missing=missing)
    depth = teacher.num_hidden_layers
    mapping = LayerMap.named(facts.settings.mapping, shape.num_hidden_layers, depth)
    parts = facts.settings.mapping.split("+")
    rows = [
        (f"{layer}", *(str(t) for t in target))
        for layer, target in zip(mapping.student_layers, mapping.targets, strict=True)
    ]
    head = ("student layer", *(f"teacher layer, {part}" for part in parts))
    figure = _figure(mapping, parts, shape.num_hidden_layers, depth)
    told = f"{TOLD} Student: {shape.label}. Teacher: {teacher.label}."
    return Section("layers", TITLE, told, {"map": figure}, Table(head, rows))


def _figure(mapping: LayerMap, parts: list[str], student: int, teacher: int) -> go.Figure:
    figure = style.figure(height=120 + 34 * teacher)
    for i, part in enumerate(parts):
        x: list[float | None] = []
        y: list[float | None] = []
        for layer, target in zip(mapping.student_layers, mapping.targets, strict=True):
            x += [LEFT, RIGHT, None]
            y += [layer * teacher / student, target[i], None]
        colour, dash = PARTS[part]
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            name=part,
            line={"color": colour, "dash": dash, "width": 2},
            hoverinfo="skip",
        )
    # Student layers are spread over the teacher's height.
    columns = ((LEFT, "student", student), (RIGHT, "teacher", teacher))
    for x0, name, count in columns:
        figure.add_scatter(
            x=[x0] * count,
            y=[(i + 1) * teacher / count for i in range(count)],
            mode="markers+text",
            text=[str(i + 1) for i in range(count)],
            textfont={"color": style.PAPER},
            marker={"size": 24, "color": style.TEACHER if x0 else style.STUDENT},
            name=name,
            showlegend=False,
            hovertemplate=f"{name} layer %{{text}}<extra></extra>",
        )
    figure.update_xaxes(
        tickvals=[LEFT, RIGHT],
        ticktext=["student", "teacher"],
        range=[-0.25, 1.25],
        showgrid=False,
        fixedrange=True,
    )
    figure.update_yaxes(visible=False, range=[0.3, teacher + 0.7], fixedrange=True)
    return figure
