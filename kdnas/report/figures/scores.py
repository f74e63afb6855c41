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
# Symbol, colour and size of a dot; controls have symbols of their own.
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
    return Section("scores", "Scores", TOLD, {"scores": _figure(models, metrics)}, table)


def _score(model: EvaluatedModel, metric: str) -> str:
    if metric not in model.scores:
        return "-"
    low, high = model.intervals.get(metric, (None, None))
    return f"{model.scores[metric]:.4f}" + (f" ({low:.3f} to {high:.3f})" if low else "")


def _figure(models: list[tuple[str, EvaluatedModel]], metrics: list[str]) -> go.Figure:
    several = len(metrics) > 1
    figure = style.figure(
        "score" if several else style.plain(metrics[0]),
        {"autorange": "reversed", "gridcolor": style.GRID, "type": "category"},
        130 + 34 * len(models),
        showlegend=several,
        margin=None if several else style.NO_LEGEND,
    )
    for i, metric in enumerate(metrics):
        having = [(name, model) for name, model in models if metric in model.scores]
        scores = [model.scores[metric] for _, model in having]
        ends = [m.intervals.get(metric, (s, s)) for (_, m), s in zip(having, scores, strict=True)]
        figure.add_scatter(
            x=scores,
            y=[style.plain(name) for name, _ in having],
            error_x={
                **style.error_bars(scores, ends),
                "visible": any(high > low for low, high in ends),
                "color": style.MUTED,
            },
            mode="markers",
            name=style.plain(metric),
            marker={
                "symbol": style.SYMBOLS[i % len(style.SYMBOLS)],
                "size": 12,
                "color": [LOOKS[name][1] if name in LOOKS else style.CONTROL for name, _ in having],
            },
            hovertemplate=f"%{{y}}<br>{style.plain(metric)} %{{x:.4f}}<extra></extra>",
        )
    return figure


def final_figure(report: Report) -> go.Figure:
    """Speed-up against the main score: a dot for each model that was evaluated on the task."""
    metric = style.plain(report.main_score)
    figure = style.figure(style.SPEEDUPS, metric, 480)
    for i, (name, model) in enumerate(report.models):
        if report.main_score in model.scores:
            other = (style.SYMBOLS[i % len(style.SYMBOLS)], style.CONTROL, 11)
            symbol, colour, size = LOOKS.get(name, other)
            figure.add_scatter(
                x=[model.speedup],
                y=[model.scores[report.main_score]],
                mode="markers",
                name=style.plain(name),
                marker={"symbol": symbol, "color": colour, "size": size},
                hovertemplate=f"{style.plain(name)}<br>{in_millions(model.params)} parameters"
                f"<br>%{{x:.2f}} times as fast<br>{metric} %{{y:.4f}}<extra></extra>",
            )
    return figure
