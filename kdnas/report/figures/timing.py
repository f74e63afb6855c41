"""Latency by batch size and length; how long each step of the run took, and where."""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

import pandas as pd
import plotly.graph_objects as go

from kdnas.report.data import ReportData
from kdnas.report.figures import style
from kdnas.report.model import LatencyCell, Report
from kdnas.report.page import Section, Table
from kdnas.runtime.formatting import several

LATENCY = "Latency"
LATENCY_TOLD = (
    "Medians of passes in which student and teacher take turns; bars reach from the lower to the "
    "upper quartile. A speed-up holds for its batch size and length alone."
)
HEAD = ("batch x tokens", "student", "quartiles", "teacher", "quartiles", "speed-up", "passes")
SECONDS = "How long, and where"
SECONDS_TOLD = "Seconds by step; the parts of an interrupted step are summed."
LEAST_SECONDS = 0.5


def latency_section(data: ReportData) -> Section:
    """Milliseconds and speed-ups by length, a line a batch size."""
    if not data.report:
        missing = "Not measured: no student is finished yet."
        return Section("latency", LATENCY, LATENCY_TOLD, missing=missing)
    cells = sorted(data.report.latency, key=lambda c: (c.batch, c.length))
    timed = [cell for cell in cells if cell.repeats]
    batches = [(batch, list(row)) for batch, row in groupby(timed, attrgetter("batch"))]
    views = {"milliseconds": _milliseconds(batches), "speed-up": _speedups(batches)}
    missing = "" if timed else "Every batch size and length took too long to be timed here."
    table = Table(HEAD, [_latency_row(cell) for cell in cells])
    return Section("latency", LATENCY, LATENCY_TOLD, views if timed else {}, table, missing)


def _milliseconds(batches: list[tuple[int, list[LatencyCell]]]) -> go.Figure:
    figure = _latency_figure("milliseconds a batch")
    for who, colour in (("teacher", style.TEACHER), ("student", style.STUDENT)):
        for i, (batch, row) in enumerate(batches):
            middle = [getattr(cell, f"{who}_ms") for cell in row]
            ends = [getattr(cell, f"{who}_quartiles_ms") for cell in row]
            figure.add_scatter(
                x=[cell.length for cell in row],
                y=middle,
                error_y=style.error_bars(middle, ends),
                mode="lines+markers",
                name=f"{who}, batch {batch}",
                marker={"color": colour, "symbol": style.SYMBOLS[i], "size": 9},
                line={"color": colour, "width": 1.5},
                customdata=ends,
                hovertemplate=f"{who}, batch {batch}, %{{x}} tokens<br>%{{y:.2f}} ms, quartiles "
                "%{customdata[0]:.2f} to %{customdata[1]:.2f}<extra></extra>",
            )
    return figure


def _speedups(batches: list[tuple[int, list[LatencyCell]]]) -> go.Figure:
    figure = _latency_figure("times as fast as the teacher")
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


def seconds_section(data: ReportData) -> Section:
    """A bar a step, the machines, and what each did for the search."""
    told = _where(data.report) + _by_machine(data.table)
    rows = [(step, f"{seconds:.1f}", machine) for step, seconds, machine in data.steps]
    table = Table(("step", "seconds", "machine"), rows)
    total: dict[str, float] = {}
    for step, seconds, _ in data.steps:
        name = "fidelity" if step.startswith("fidelity ") else step  # its students are one step
        total[name] = total.get(name, 0.0) + seconds
    shown = {name: seconds for name, seconds in total.items() if seconds >= LEAST_SECONDS}
    if not shown:
        missing = "" if rows else "The run has no log yet."
        return Section("seconds", SECONDS, told, table=table, missing=missing)
    y = {"autorange": "reversed", "type": "category"}
    figure = style.figure("seconds", y, 80 + 24 * len(shown), margin=style.NO_LEGEND)
    figure.add_bar(
        x=list(shown.values()),
        y=[style.plain(step) for step in shown],
        orientation="h",
        marker={"color": style.STUDENT},
        hovertemplate="%{y}: %{x:.1f} s<extra></extra>",
    )
    return Section("seconds", SECONDS, told, {"steps": figure}, table)


def _where(report: Report | None) -> str:
    if report is None:
        return SECONDS_TOLD
    e = report.environment
    return (
        f"On {e.device} ({e.device_name}), {several(e.threads, 'thread')}, {e.precision}, "
        f"torch {e.torch}, Python {e.python}, {e.platform}; latencies on {e.timed_on}."
    )


def _by_machine(table: pd.DataFrame) -> str:
    """What each machine did, where there were several."""
    seconds = table.dropna(subset=["machine", "seconds"]).groupby("machine", sort=False).seconds
    if seconds.ngroups < 2:
        return ""
    parts = [f"{m}: {several(len(s), 'trial')}, {s.sum():.0f} s" for m, s in seconds]
    return f" The search by machine: {'; '.join(parts)}."
