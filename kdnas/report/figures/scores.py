"""The task's scores after full training: student, teacher, controls."""

from __future__ import annotations

import plotly.graph_objects as go

from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.model import EvaluatedModel, Report
from kdnas.report.page import Section, Table
from kdnas.runtime.formatting import in_millions

TOLD = (
    "The task's own metrics after full training; bars are 95% confidence intervals. Controls show "
    "what the search and the distillation contributed."
)
COLOURS = {"teacher": style.TEACHER, "student": style.FRONT}
LOOKS = {"teacher": ("diamond", style.TEACHER, 13), "student": ("star", style.FRONT, 17)}


def scores_section(data: ReportData) -> Section:
    """A dot a metric and model, and the table with the exact scores."""
    if not data.report:
        missing = "No student is finished yet: continue with kdnas resume."
        return Section("scores", "Scores", TOLD, missing=missing)
    models, metrics = data.report.models, list(data.report.student.scores)
    rows = [
        (
            name,
            *(_score(model, metric) for metric in metrics),
            in_millions(model.params, 2),
            f"{model.speedup:.2f}x",
        )
        for name, model in models
    ]
    table = Table(("", *metrics, "parameters", "speed-up"), rows, open=True)
    views = {"scores": _figure(models, metrics)}
    return Section("scores", "Scores", TOLD, views, table)


def final_figure(report: Report) -> go.Figure:
    """Speed-up against the main score: a dot for each model that was evaluated on the task."""
    metric = report.main_score
    figure = style.figure(height=480)
    for i, (name, model) in enumerate(report.models):
        if metric not in model.scores:
            continue
        other = (style.SYMBOLS[i % len(style.SYMBOLS)], style.CONTROL, 11)
        symbol, colour, size = LOOKS.get(name, other)
        figure.add_scatter(
            x=[model.speedup],
            y=[model.scores[metric]],
            mode="markers",
            name=style.plain(name),
            marker={"symbol": symbol, "color": colour, "size": size},
            hovertemplate=f"{style.plain(name)}<br>{in_millions(model.params)} parameters"
            f"<br>%{{x:.2f}} times as fast<br>{style.plain(metric)} %{{y:.4f}}<extra></extra>",
        )
    figure.update_xaxes(style.SPEEDUPS)
    figure.update_yaxes(title={"text": style.plain(metric)})
    return figure


def _score(model: EvaluatedModel, metric: str) -> str:
    if metric not in model.scores:
        return "-"
    low, high = model.intervals.get(metric, (None, None))
    return f"{model.scores[metric]:.4f}" + (f" ({low:.3f} to {high:.3f})" if low else "")


def _figure(models: list[tuple[str, EvaluatedModel]], metrics: list[str]) -> go.Figure:
    several = len(metrics) > 1
    margin = None if several else style.NO_LEGEND
    figure = style.figure(height=130 + 34 * len(models), showlegend=several, margin=margin)
    for i, metric in enumerate(metrics):
        having = [(name, model) for name, model in models if metric in model.scores]
        scores = [model.scores[metric] for _, model in having]
        ends = [m.intervals.get(metric, (s, s)) for (_, m), s in zip(having, scores, strict=True)]
        figure.add_scatter(
            x=scores,
            y=[style.plain(name) for name, _ in having],
            error_x={
                "array": [high - s for (_, high), s in zip(ends, scores, strict=True)],
                "arrayminus": [s - low for (low, _), s in zip(ends, scores, strict=True)],
                "visible": any(high > low for low, high in ends),
                "color": style.MUTED,
            },
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
