"""Speed-up against the final score: teacher, student, controls."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from kdnas.report.figures import style
from kdnas.report.models import models_of
from kdnas.runtime.formatting import in_millions


def final_figure(report: dict[str, Any]) -> go.Figure:
    """A dot for each model that was evaluated on the task."""
    metric = main_metric(report)
    looks = {"teacher": ("diamond", style.TEACHER, 13), "student": ("star", style.FRONT, 17)}
    figure = style.figure(height=480)
    controls = 0
    for name, row, speedup in models_of(report):
        if metric not in row["scores"]:
            continue
        symbol, colour, size = looks.get(name, (style.SYMBOLS[controls], style.CONTROL, 11))
        controls += name not in looks
        figure.add_scatter(
            x=[speedup],
            y=[row["scores"][metric]],
            mode="markers",
            name=style.plain(name),
            marker={"symbol": symbol, "color": colour, "size": size},
            hovertemplate=f"{style.plain(name)}<br>{in_millions(row['params'])} parameters"
            f"<br>%{{x:.2f}} times as fast<br>{style.plain(metric)} %{{y:.4f}}<extra></extra>",
        )
    figure.update_xaxes(style.SPEEDUPS)
    figure.update_yaxes(title={"text": style.plain(metric)})
    return figure


def main_metric(report: dict[str, Any]) -> str:
    """The metric that stands for the others, as the scores spell it."""
    scores, wanted = report["student"]["scores"], report.get("main_score")
    return str(wanted if wanted in scores else next(iter(scores)))
