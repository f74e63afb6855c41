"""How a run went: loss curves, the winner's layer map, and the seconds of each step."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from kdnas.config.layer_mapping import Targets
from kdnas.distillation.layer_map import LayerMap
from kdnas.files.curves import MINI_KD
from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.model import Report
from kdnas.report.page import Section, Table
from kdnas.report.steps import step_in_words
from kdnas.runtime.formatting import several

LOSSES = Section(
    "losses",
    "Loss curves",
    "Training loss of one batch now and then, so it jitters. Losses of different stages are not "
    "comparable; mini-KD is ranked by the held-out loss, in the table.",
)
WITHOUT_A_SEARCH = (
    "Training loss of one batch now and then, so it jitters. Losses of different stages are not "
    "comparable."
)
HEAD = ("student", "stage", "steps", "last loss", "held-out loss")
LAYERS = Section(
    "layers",
    "Layer map",
    "Which teacher layers each layer of the student learns to predict: skip takes every n-th one, "
    "last the last ones, evenly spreads them over all, learned weighs all. Layers count from 1.",
)
SECONDS = Section(
    "seconds",
    "How long, and where",
    "Seconds by step; the parts of an interrupted step are summed.",
)
LEAST_SECONDS = 0.5
DASHES = ("solid", "dash", "dot", "dashdot")
PARTS = {"last": (style.FRONT, "dash"), "learned": (style.STUDENT, "dot")}
LEFT, RIGHT = 0.0, 1.0

Curve = dict[str, Any]


def losses_section(data: ReportData) -> Section:
    """Every candidate of mini-KD, the winner in front; every stage of the full trainings."""
    if not data.curves:
        return replace(LOSSES, missing="Nothing has been trained yet: there is no curves.jsonl.")
    mini = [c for c in data.curves if c["stage"] == MINI_KD]
    full = [c for c in data.curves if c["stage"] != MINI_KD]
    briefly = _mini(mini, f"trial {data.winner}") if data.study else _full(mini)
    views = {"mini-KD": briefly, "full KD": _full(full)}
    views = {name: figure for name, figure in views.items() if figure.data}
    table = Table(HEAD, [_row(c) for c in data.curves], caption="The end of each training.")
    told = LOSSES.told if data.study else WITHOUT_A_SEARCH
    return replace(LOSSES, told=told, views=views, table=table)


def _row(curve: Curve) -> tuple[str, ...]:
    step, loss = curve["points"][-1] if curve["points"] else ("", None)
    losses = ("" if value is None else f"{value:.4f}" for value in (loss, curve["heldout"]))
    return curve["name"], curve["stage"], f"{step}", *losses


def _mini(curves: list[Curve], winner: str) -> go.Figure:
    figure = _loss_figure()
    shown = set()
    for curve in sorted(curves, key=lambda c: c["name"] == winner):
        best = curve["name"] == winner
        name = f"winner, {winner}" if best else "candidates"
        line = {"color": style.FRONT, "width": 3} if best else {"color": style.STUDENT, "width": 1}
        _add_curve(
            figure,
            curve,
            name,
            line,
            opacity=1 if best else 0.45,
            legendgroup=name,
            showlegend=name not in shown,  # one entry for all candidates
        )
        shown.add(name)
    return figure


def _full(curves: list[Curve]) -> go.Figure:
    figure = _loss_figure()
    stages: dict[str, int] = {}
    for curve in curves:
        name = curve["name"]
        stages[name] = stages.get(name, -1) + 1
        colour = style.SEVERAL[list(stages).index(name) % len(style.SEVERAL)]
        line = {"color": colour, "dash": DASHES[stages[name] % len(DASHES)], "width": 2}
        _add_curve(figure, curve, f"{name}: {curve['stage']}", line)
    return figure


def _loss_figure() -> go.Figure:
    return style.figure("step", style.log_axis("training loss"))


def _add_curve(
    figure: go.Figure, curve: Curve, name: str, line: dict[str, Any], **look: Any
) -> None:
    words = style.plain(f"{curve['name']}: {curve['stage']}")
    figure.add_scatter(
        x=[step for step, _ in curve["points"]],
        y=[loss for _, loss in curve["points"]],
        mode="lines",
        name=style.plain(name),
        line=line,
        hovertemplate=f"{words}<br>step %{{x}}: %{{y:.4f}}<extra></extra>",
        **look,
    )


def layers_section(data: ReportData) -> Section:
    """Student on the left, teacher on the right, an edge for each target."""
    shape, teacher = data.winner_shape, data.teacher
    if shape is None or teacher is None:
        missing = "No student is known yet." if teacher else "The teacher's depth is not known."
        return replace(LAYERS, missing=missing)
    if data.settings.teacher_predictions is not None:
        return replace(LAYERS, missing="None: of a black-box teacher the outputs alone are known.")
    depths = shape.num_hidden_layers, teacher.num_hidden_layers
    if not depths[0]:
        return replace(LAYERS, missing="None: the student has no layers.")
    edges = _edges(data.settings.mapping, *depths)
    head = ("student layer", *(f"teacher layer, {part}" for part in edges))
    columns = [["+".join(map(str, layers)) for layers in targets] for targets in edges.values()]
    rows = [(f"{i}", *row) for i, row in enumerate(zip(*columns, strict=True), 1)]
    told = f"{LAYERS.told} Student: {shape.label}. Teacher: {teacher.label}."
    views = {"map": _map_figure(edges, *depths)}
    return replace(LAYERS, told=told, views=views, table=Table(head, rows))


def _edges(mapping: Any, student: int, teacher: int) -> dict[str, Targets]:
    """By what is drawn alike, the teacher layers of each student layer."""
    targets = LayerMap.of(mapping, student, teacher).targets
    if not isinstance(mapping, str):
        return {"given": targets}
    if mapping == "learned":
        return {mapping: targets}
    return {
        part: tuple(target[i : i + 1] for target in targets)
        for i, part in enumerate(mapping.split("+"))
    }


def _map_figure(edges: dict[str, Targets], student: int, teacher: int) -> go.Figure:
    x = {"tickvals": [LEFT, RIGHT], "ticktext": ["student", "teacher"], "range": [-0.25, 1.25]}
    figure = style.figure(
        {**x, "showgrid": False, "fixedrange": True},
        {"visible": False, "range": [0.3, teacher + 0.7], "fixedrange": True},
        120 + 34 * teacher,
    )
    for part, targets in edges.items():
        colour, dash = PARTS.get(part, (style.STUDENT, "solid"))
        pairs = [(i, layer) for i, layers in enumerate(targets, 1) for layer in layers]
        figure.add_scatter(
            x=[LEFT, RIGHT, None] * len(pairs),
            y=[y for i, layer in pairs for y in (i * teacher / student, layer, None)],
            mode="lines",
            name=part,
            line={"color": colour, "dash": dash, "width": 2},
            hoverinfo="skip",
        )
    # Student layers are spread over the teacher's height.
    for x_of, name, count, colour in (
        (LEFT, "student", student, style.STUDENT),
        (RIGHT, "teacher", teacher, style.TEACHER),
    ):
        figure.add_scatter(
            x=[x_of] * count,
            y=[(i + 1) * teacher / count for i in range(count)],
            mode="markers+text",
            text=[str(i + 1) for i in range(count)],
            textfont={"color": style.PAPER},
            marker={"size": 24, "color": colour},
            name=name,
            showlegend=False,
            hovertemplate=f"{name} layer %{{text}}<extra></extra>",
        )
    return figure


def seconds_section(data: ReportData) -> Section:
    """A bar a step, the machines, and what each did for the search."""
    told = _where(data.report) + _by_machine(data.table)
    rows = [(step_in_words(step), f"{s:.1f}", machine) for step, s, machine in data.steps]
    table = Table(("step", "seconds", "machine"), rows, caption="Seconds of each step.")
    section = replace(SECONDS, told=told, table=table)
    total: dict[str, float] = {}
    for step, seconds, _ in data.steps:
        name = "fidelity" if step.startswith("fidelity ") else step  # its students are one step
        total[step_in_words(name)] = total.get(step_in_words(name), 0.0) + seconds
    shown = {name: seconds for name, seconds in total.items() if seconds >= LEAST_SECONDS}
    if not shown:
        return replace(section, missing="" if rows else "The run has no log yet.")
    y = {"autorange": "reversed", "type": "category"}
    names = [style.wrapped(step, 26) for step in shown]
    lines = sum(2 + name.count("<br>") for name in names)
    figure = style.figure("seconds", y, 80 + 18 * lines, margin=style.NO_LEGEND)
    figure.add_bar(
        x=list(shown.values()),
        y=names,
        orientation="h",
        marker={"color": style.STUDENT},
        hovertemplate="%{y}: %{x:.1f} s<extra></extra>",
    )
    return replace(section, views={"steps": figure})


def _where(report: Report | None) -> str:
    if report is None:
        return SECONDS.told
    e = report.environment
    name = (e.processor if e.device == "cpu" else "") or e.device_name
    name += f", {e.memory_gb:g} GB" if e.memory_gb else ""
    return (
        f"On {e.device} ({name}), {several(e.threads, 'thread')}, {e.precision}, "
        f"torch {e.torch}, Python {e.python}, {e.platform}; latencies on {e.timed_on}."
    )


def _by_machine(table: pd.DataFrame) -> str:
    """What each machine did, where there were several."""
    seconds = table.dropna(subset=["machine", "seconds"]).groupby("machine", sort=False).seconds
    if seconds.ngroups < 2:
        return ""
    parts = [f"{m}: {several(len(s), 'trial')}, {s.sum():.0f} s" for m, s in seconds]
    return f" The search by machine: {'; '.join(parts)}."
