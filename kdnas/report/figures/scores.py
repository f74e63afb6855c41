"""The task's scores: student, teacher, controls."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from kdnas.report.facts import Facts
from kdnas.report.figures import style
from kdnas.report.models import models_of
from kdnas.report.page import Section, Table
from kdnas.runtime.formatting import in_millions

TOLD = (
    "The task's own metrics after full training. Controls say what the search and the "
    "distillation were worth."
)
COLOURS = {"teacher": style.TEACHER, "student": style.FRONT}


def scores_section(facts: Facts) -> Section:
    """A dot a metric and model, and the table that says it exactly."""
    if not facts.report:
        missing = "No student is finished yet: kdnas resume goes on."
        return Section("scores", "Scores", TOLD, missing=missing)
    models = models_of(facts.report)
    metrics = list(facts.report["student"]["scores"])
    rows = [
        (
            name,
            *(f"{row['scores'][m]:.4f}" if m in row["scores"] else "-" for m in metrics),
            in_millions(row["params"], 2),
            f"{speedup:.2f}x",
        )
        for name, row, speedup in models
    ]
    table = Table(("", *metrics, "parameters", "speed-up"), rows, open=True)
    figure = _figure(models, metrics)
    return Section("scores", "Scores", TOLD, {"scores": figure}, table)


def _figure(models: list[tuple[str, dict[str, Any], float]], metrics: list[str]) -> go.Figure:
    several = len(metrics) > 1
    margin = None if several else style.NO_LEGEND
    figure = style.figure(height=130 + 34 * len(models), showlegend=several, margin=margin)
    for i, metric in enumerate(metrics):
        having = [(name, row["scores"]) for name, row, _ in models if metric in row["scores"]]
        figure.add_scatter(
            x=[scores[metric] for _, scores in having],
            y=[style.plain(name) for name, _ in having],
            mode="markers",
            name=style.plain(metric),
            marker={
                "symbol": style.SYMBOLS[i % len(style.SYMBOLS)],
                "size": 12,
                "color": [COLOURS.get(name, style.CONTROL) for name, _ in having],
            },
            hovertemplate=f"%{{y}}<br>{style.plain(metric)} %{{x:.4f}}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", gridcolor=style.GRID, type="category")
    figure.update_xaxes(title={"text": style.plain(metrics[0]) if len(metrics) == 1 else "score"})
    return figure
