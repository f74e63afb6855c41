"""The finished student beside its teacher and the controls: the task's scores, and latencies."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from operator import attrgetter

import plotly.graph_objects as go

from kdnas.measure.latency import NEW_TOKENS
from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.model import Baseline, EvaluatedModel, LatencyCell, Report
from kdnas.report.pace import pace_words
from kdnas.report.page import Section, Table
from kdnas.runtime.formatting import as_interval, as_score, in_millions
from kdnas.tasks import TASK_TYPES

SCORES = Section(
    "scores",
    "Scores",
    "The task's own metrics after full training; bars are 95% confidence intervals.",
)
CONTROLS = "Controls show what the search and the distillation contributed."
ON_LABELS = (
    "Student and control are one shape, taught by the teacher and on labels alone: they show what "
    "the distillation contributed."
)
SEVERAL = "Controls show what the distillation and its method contributed."
NO_CONTROLS = (
    "No control was trained, so that nothing shows what the distillation contributed: kdnas resume "
    "RUN --controls trains some."
)
LATENCY = Section(
    "latency",
    "Latency",
    "Medians of passes in which student and teacher take turns; bars reach from the lower to the "
    "upper quartile. A speed-up holds for its batch size and length alone.",
)
WRITTEN = f" A pass reads the texts and writes {NEW_TOKENS} tokens for each, greedily."
HEAD = ("batch x tokens", "student", "quartiles", "teacher", "quartiles", "speed-up", "passes")
PASSES = "Medians and quartiles of a pass."
# Symbol, colour and size of a dot; controls have symbols of their own.
LOOKS = {"teacher": ("diamond", style.TEACHER, 13), "student": ("star", style.FRONT, 17)}


def scores_section(data: ReportData) -> Section:
    """A dot a metric and model, and the table with the exact scores."""
    if not data.report:
        return replace(SCORES, missing="No student is finished yet: continue with kdnas resume.")
    models, metrics = data.report.models, list(data.report.student.scores)
    rows = []
    for name, model in models:
        scores = (_score(model, metric) for metric in metrics)
        rows.append((name, *scores, *model.costs_told(2)))
        if model.seeds:
            rows.append((model.seeds.label, *map(model.seeds.told, metrics), "", ""))
    for low in data.report.baselines:
        rows.append((low.name, *(_score(low, metric) for metric in metrics), "-", "-"))
    caption = "Scores after full training, with 95% intervals where they are known."
    signatures = data.report.details.signatures if data.report.details else {}
    caption += "".join(f" Signature of {name}: {text}." for name, text in signatures.items())
    table = Table(("model", *metrics, "parameters", "speed-up"), rows, open=True, caption=caption)
    errors = TASK_TYPES[data.report.task_type].errors
    drawn = [metric for metric in metrics if metric.partition("_")[0] not in errors]
    views = {"scores": _figure(models, drawn)}
    told = f"{SCORES.told} {_of_controls(data)}"
    if not data.study:
        views["score and speed"] = final_figure(data.report)  # a search has it beside its front
    return replace(SCORES, told=told, views=views, table=table)


def _of_controls(data: ReportData) -> str:
    """What the controls of a report show."""
    controls = data.report.controls if data.report else []
    if not controls:
        return NO_CONTROLS
    if data.study:
        return CONTROLS
    return ON_LABELS if len(controls) == 1 else SEVERAL


def _score(model: EvaluatedModel | Baseline, metric: str) -> str:
    if metric not in model.scores:
        return "-"
    intervals = model.intervals if isinstance(model, EvaluatedModel) else {}
    ends = intervals.get(metric)
    return as_score(model.scores[metric]) + (f" ({as_interval(ends)})" if ends else "")


def _figure(models: list[tuple[str, EvaluatedModel]], metrics: list[str]) -> go.Figure:
    several = len(metrics) > 1
    figure = style.figure(
        {"title": {"text": "score" if several else style.plain(metrics[0])}, "nticks": 6},
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
            y=[style.wrapped(name) for name, _ in having],
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
    return figure if several else style.clip(figure, "x", ("teacher", "student"))


def final_figure(report: Report) -> go.Figure:
    """Speed-up against the main score: a dot for each model that was evaluated on the task."""
    metric = style.plain(report.main_score)
    figure = style.figure(style.SPEEDUPS, metric, 480)
    for i, (name, model) in enumerate(report.models):
        if report.main_score in model.scores:
            other = (style.SYMBOLS[i % len(style.SYMBOLS)], style.CONTROL, 11)
            symbol, colour, size = LOOKS.get(name, other)
            where = "" if model.own_costs else f" (at the {report.reference}'s speed)"
            figure.add_scatter(
                x=[model.speedup],
                y=[model.scores[report.main_score]],
                mode="markers",
                name=style.plain(name),
                marker={"symbol": symbol, "color": colour, "size": size},
                hovertemplate=f"{style.plain(name)}{where}<br>{in_millions(model.params)} "
                f"parameters<br>%{{x:.2f}} times as fast<br>{metric} %{{y:.4f}}<extra></extra>",
            )
    before = [one for one in report.family[:-1] if report.main_score in one.scores]
    if before:  # the last is the student
        told = [f"{one.folder}<br>{in_millions(one.params)} parameters" for one in before]
        figure.add_scatter(
            x=[one.speedup for one in before],
            y=[one.scores[report.main_score] for one in before],
            text=[style.plain(text) for text in told],
            mode="markers",
            name="others of the family",
            marker={"symbol": "star", "color": style.STUDENT, "size": 13},
            hovertemplate=f"%{{text}}<br>%{{x:.2f}} times as fast<br>{metric} %{{y:.4f}}"
            "<extra></extra>",
        )
    return style.clip(figure, "y", ("teacher", "student"))


def latency_section(data: ReportData) -> Section:
    """Milliseconds and speed-ups by length, a line a batch size."""
    if not data.report:
        return replace(LATENCY, missing="Not measured: no student is finished yet.")
    cells = sorted(data.report.latency, key=lambda c: (c.batch, c.length))
    timed = [cell for cell in cells if cell.repeats]
    batches = [(batch, list(row)) for batch, row in groupby(timed, attrgetter("batch"))]
    pace = pace_words(data.report)
    beside = data.report.reference
    writes = TASK_TYPES[data.report.task_type].generates
    told = LATENCY.told + (WRITTEN if writes else "")
    told = told.replace("teacher", beside) + (f" {pace}." if pace else "")
    head = [word.replace("teacher", beside) for word in HEAD]
    table = Table(head, [_latency_row(cell) for cell in cells], caption=PASSES)
    section = replace(LATENCY, told=told, table=table)
    if not timed:
        return replace(section, missing="Every batch size and length took too long to be timed.")
    views = {
        "milliseconds": _milliseconds(batches, beside),
        "speed-up": _speedups(batches, beside),
    }
    return replace(section, views=views)


def _milliseconds(batches: list[tuple[int, list[LatencyCell]]], beside: str) -> go.Figure:
    figure = _latency_figure("milliseconds a batch")
    for who, name, colour, dash in (
        ("teacher", beside, style.TEACHER, "dash"),
        ("student", "student", style.STUDENT, "solid"),
    ):
        for i, (batch, row) in enumerate(batches):
            middle = [getattr(cell, f"{who}_ms") for cell in row]
            ends = [getattr(cell, f"{who}_quartiles_ms") for cell in row]
            figure.add_scatter(
                x=[cell.length for cell in row],
                y=middle,
                error_y=style.error_bars(middle, ends),
                mode="lines+markers",
                name=f"{name}, batch {batch}",
                marker={"color": colour, "symbol": style.SYMBOLS[i], "size": 9},
                line={"color": colour, "width": 1.5, "dash": dash},
                customdata=ends,
                hovertemplate=f"{name}, batch {batch}, %{{x}} tokens<br>%{{y:.2f}} ms, quartiles "
                "%{customdata[0]:.2f} to %{customdata[1]:.2f}<extra></extra>",
            )
    return figure


def _speedups(batches: list[tuple[int, list[LatencyCell]]], beside: str) -> go.Figure:
    figure = _latency_figure(f"times as fast as the {beside}")
    for i, (batch, row) in enumerate(batches):
        figure.add_scatter(
            x=[cell.length for cell in row],
            y=[cell.speedup for cell in row],
            mode="lines+markers",
            name=f"batch {batch}",
            marker={"symbol": style.SYMBOLS[i], "size": 9, "color": style.SEVERAL[i]},
            hovertemplate=f"batch {batch}, %{{x}} tokens<br>%{{y:.2f}} times<extra></extra>",
        )
    return figure


def _latency_figure(title: str) -> go.Figure:
    x = {"title": {"text": "tokens"}, "type": "category", "categoryorder": "array"}
    return style.figure(x, style.log_axis(title), 440)


def _latency_row(cell: LatencyCell) -> tuple[str, ...]:
    name = f"{cell.batch} x {cell.length}"
    if not cell.repeats:
        return name, "too slow to time", "", "", "", "", "0"
    student, teacher = (
        (f"{middle:.2f} ms", f"{low:.2f} to {high:.2f}")
        for middle, (low, high) in (
            (cell.student_ms, cell.student_quartiles_ms),
            (cell.teacher_ms, cell.teacher_quartiles_ms),
        )
    )
    return name, *student, *teacher, f"{cell.speedup:.2f}x", f"{cell.repeats}"
